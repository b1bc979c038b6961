"""What an IAM role may do: its policies asked about one action on one resource.

Read towards suspicion: a condition on the tags of a resource is checked, any other is taken to hold. Policies that AWS
maintains, permission boundaries and those of an organization are not in a stack's state and are not asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Statement = Mapping[str, Any]
_TAG = re.compile(r"(?:aws|ec2|ssm|secretsmanager):ResourceTag/(.+)", re.IGNORECASE)


def statements(document: str | Mapping[str, Any]) -> list[Statement]:
    """The statements of a policy document."""
    return _listed((json.loads(document) if isinstance(document, str) else document).get("Statement"))


def allows(policy: Iterable[Statement], action: str, resource: str, tags: Mapping[str, str] | None = None) -> bool:
    """Whether the statements let their holder do this; a denial wins, unless it hangs on what is not known here."""
    policy = list(policy)
    denied = any(
        s["Effect"] == "Deny" and not _unknown(s) and _speaks_of(s, action, resource, tags or {}) for s in policy
    )
    return not denied and any(s["Effect"] == "Allow" and _speaks_of(s, action, resource, tags or {}) for s in policy)


def trusts(document: str | Mapping[str, Any], role_arn: str) -> bool:
    """Whether a role's trust policy lets another role of its account assume it."""
    account = role_arn.split(":")[4]
    root = re.compile(rf"arn:[^:]+:iam::{re.escape(account)}:root")
    for statement in statements(document):
        principal = statement.get("Principal") or {}
        named = _listed(principal if isinstance(principal, str) else principal.get("AWS"))
        if statement["Effect"] == "Allow" and any(
            name in ("*", account, role_arn) or root.fullmatch(name) for name in named
        ):
            return True
    return False


def _speaks_of(statement: Statement, action: str, resource: str, tags: Mapping[str, str]) -> bool:
    if "NotAction" in statement:
        about_action = not _any_matches(statement["NotAction"], action, re.IGNORECASE)
    else:
        about_action = _any_matches(statement.get("Action"), action, re.IGNORECASE)
    if "NotResource" in statement:
        about_resource = not _any_matches(statement["NotResource"], resource)
    else:
        about_resource = _any_matches(statement.get("Resource"), resource)
    return about_action and about_resource and all(_holds(*c, tags) for c in _conditions(statement))


def _conditions(statement: Statement) -> Iterator[tuple[str, str, list[str]]]:
    for operator, pairs in (statement.get("Condition") or {}).items():
        for key, values in pairs.items():
            yield operator, key, [str(value) for value in _listed(values)]


def _holds(operator: str, key: str, values: list[str], tags: Mapping[str, str]) -> bool:
    tag = _TAG.fullmatch(key)
    if not tag or operator not in ("StringEquals", "StringLike"):
        return True
    actual = tags.get(tag[1])
    if actual is None:
        return False
    return actual in values if operator == "StringEquals" else _any_matches(values, actual)


def _unknown(statement: Statement) -> bool:
    return any(not _TAG.fullmatch(key) for _, key, _ in _conditions(statement))


def _any_matches(patterns: Any, text: str, flags: int = 0) -> bool:
    return any(re.fullmatch(_expression(pattern), text, flags | re.DOTALL) for pattern in _listed(patterns))


def _expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in pattern)


def _listed(value: Any) -> list[Any]:
    """IAM writes one thing bare and several as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
