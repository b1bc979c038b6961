"""What a rule sees: resources, the same whether recorded in a test or shown by the engine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.placement import Plan

UNKNOWN = "(known after up)"
"""Stands for values that a preview cannot know. It is true like any value: a rule that looks whether something is given
is content, and looks again after `up`."""


@dataclass(frozen=True)
class Resource:
    """One resource of a deployment.

    Attributes:
        props: its properties in the provider's camel case, plain data.
        depends_on: URNs of what it waits for, by option or by property.
    """

    type: str
    name: str
    urn: str
    props: Mapping[str, Any]
    provider: str = ""
    parent: str = ""
    depends_on: frozenset[str] = frozenset()
    protect: bool = False
    ignore_changes: tuple[str, ...] = ()
    delete_before_replace: bool = False

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags by key; Auto Scaling groups write them as a list."""
        tags = self.props.get("tags") or {}
        return tags if isinstance(tags, Mapping) else {tag.get("key"): tag.get("value") for tag in tags}

    def is_a(self, kind: str) -> bool:
        """Whether it is of this type; AWS's may be given short: `ec2/volume`."""
        return self.type == kind or self.type.startswith(f"aws:{kind}:")


class Deployment(Sequence[Resource]):
    """All resources of a stack, and the plan that they should follow."""

    def __init__(self, resources: Iterable[Resource], stack: str, plan: Plan) -> None:
        self._resources = list(resources)
        self.stack, self.plan = stack, plan

    def __len__(self) -> int:
        return len(self._resources)

    def __getitem__(self, index: Any) -> Any:
        return self._resources[index]

    @property
    def is_production(self) -> bool:
        """Stacks that hold what nobody can afford to lose have `prod` in their name."""
        return "prod" in self.stack

    def of(self, *kinds: str) -> list[Resource]:
        return [resource for resource in self._resources if any(resource.is_a(kind) for kind in kinds)]

    def one(self, kind: str, name: str) -> Resource:
        found = [resource for resource in self.of(kind) if resource.name == name]
        if len(found) != 1:
            names = [resource.name for resource in self.of(kind)]
            raise LookupError(f"{len(found)} resources {kind} named {name}; there are {names}")
        return found[0]

    def aws(self) -> list[Resource]:
        return [resource for resource in self._resources if resource.type.startswith("aws:")]


@dataclass(frozen=True)
class Violation:
    message: str
    urn: str = ""


Check = Callable[[Deployment], Iterator[Violation]]


@dataclass(frozen=True)
class Rule:
    """One rule of the pack.

    Attributes:
        name: how a violation is headed.
        description: what holds, and why it matters.
    """

    name: str
    description: str
    check: Check = field(repr=False)


RULES: list[Rule] = []


def rule(check: Check) -> Check:
    """Make a rule of a function: its name is the rule's, with dashes; its docstring is the description."""
    description = re.sub(r"\s+", " ", check.__doc__ or "").strip()
    RULES.append(Rule(check.__name__.replace("_", "-"), description, check))
    return check


def violation(resource: Resource, message: str) -> Violation:
    return Violation(f"{resource.name}: {message}", resource.urn)


def json_of(text: Any) -> Any:
    """The JSON in a property; None while it is not known.

    Raises:
        ValueError: if it is not JSON.
    """
    return None if text is None or UNKNOWN in str(text) else json.loads(text)


def listed(value: Any) -> list[Any]:
    """IAM writes one thing bare and several as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]
