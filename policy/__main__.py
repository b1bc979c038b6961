"""The policy pack: every rule as a mandatory policy of the stack, `pulumi preview --policy-pack policy`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi_policy import EnforcementLevel, PolicyPack, ReportViolation, StackValidationArgs, StackValidationPolicy
from pulumi_policy.proxy import UnknownValueError

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from infra.placement import Plan, place  # noqa: E402
from infra.spec import load_spec  # noqa: E402
from policy.resources import UNKNOWN, Deployment, Resource, Rule  # noqa: E402
from policy.rules import RULES  # noqa: E402


def plain(value: Any) -> Any:
    """The data behind the engine's proxies, with a stand-in for what is not known before `up`."""
    if isinstance(value, Mapping):
        return {key: _entry(value, key) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_entry(value, index) for index in range(len(value))]
    return value


def _entry(container: Any, key: Any) -> Any:
    try:
        return plain(container[key])
    except UnknownValueError:
        return UNKNOWN


def the_plan() -> Plan:
    spec = pulumi.Config("hybrid-platform").get("spec") or "platform.yaml"
    return place(load_spec(CHECKOUT / spec))


def deployment(args: StackValidationArgs) -> Deployment:
    resources = [
        Resource(
            type=resource.resource_type,
            name=resource.name,
            urn=resource.urn,
            props=plain(resource.props),
            provider=resource.provider.name if resource.provider else "",
            parent=resource.parent.urn if resource.parent else "",
            depends_on=frozenset(
                found.urn
                for found in (
                    *resource.dependencies,
                    *(d for ds in resource.property_dependencies.values() for d in ds),
                )
            ),
            protect=resource.opts.protect,
            ignore_changes=tuple(resource.opts.ignore_changes),
            delete_before_replace=bool(resource.opts.delete_before_replace),
        )
        for resource in args.resources
    ]
    return Deployment(resources, pulumi.get_stack(), the_plan())


def policy(rule: Rule) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        for found in rule.check(deployment(args)):
            report(found.message, found.urn or None)

    return StackValidationPolicy(name=rule.name, description=rule.description, validate=validate)


PolicyPack(
    name="hybrid-platform",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[policy(rule) for rule in RULES],
)
