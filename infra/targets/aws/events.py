"""What happens when something happens: EventBridge rules, each with one target."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
import pulumi_aws as aws

Pattern = dict[str, Any]


def event(source: str, what: str, **detail: Any) -> Pattern:
    """Events of one AWS service (`aws.ssm`) and kind whose details have one of these values."""
    return {"source": [source], "detail-type": [what], "detail": detail}


def written(*names: str | Mapping[str, str]) -> Pattern:
    """A parameter of one of these names has a new value."""
    return event("aws.ssm", "Parameter Store Change", name=list(names), operation=["Create", "Update"])


def react(
    name: str,
    description: str,
    target_arn: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    *,
    to: Pattern | None = None,
    schedule: str | None = None,
    role_arn: pulumi.Input[str] | None = None,
) -> list[pulumi.Resource]:
    """Send what matches (`to`), or the strokes of a clock, to a target.

    Args:
        role_arn: as whom the target is started, where its own policy does not say who may.
    """
    rule = aws.cloudwatch.EventRule(
        name,
        description=description,
        event_pattern=json.dumps(to, sort_keys=True) if to else None,
        schedule_expression=schedule,
        opts=opts,
    )
    return [rule, aws.cloudwatch.EventTarget(name, rule=rule.name, arn=target_arn, role_arn=role_arn, opts=opts)]


def page(name: str, description: str, to: Pattern, topic_arn: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
    """Send events that nobody should miss to the alarm topic."""
    react(name, description, topic_arn, opts, to=to)
