"""IAM documents, by plain functions; `policy/rules/iam.py` lints every one of them in the recorded graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

Statement = dict[str, Any]


def allow(
    actions: Sequence[str], resources: Any, conditions: Mapping[str, Mapping[str, Any]] | None = None
) -> Statement:
    """Permit `actions` on `resources` (ARNs; outputs welcome)."""
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Resource": resources}
    return {**statement, "Condition": dict(conditions)} if conditions else statement


def grant(
    principal: Mapping[str, Any] | str,
    actions: Sequence[str],
    resources: Any = "*",
    conditions: Mapping[str, Mapping[str, Any]] | None = None,
) -> Statement:
    """A statement of a resource's own policy. In a key's policy the resource `*` is that key."""
    return {**allow(actions, resources, conditions), "Principal": principal}


def deny_plain_http(bucket_arn: Any, objects: Any) -> Statement:
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [bucket_arn, objects],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def document(*statements: Statement) -> pulumi.Output[str]:
    """The JSON of a policy; keys sorted, so that nothing but a change is a difference.

    `Output.json_dumps` makes an output of every nested value, dozens a policy; here only those count that are outputs.
    """
    outputs: list[pulumi.Output[Any]] = []

    def note(value: Any) -> None:
        if isinstance(value, pulumi.Output):
            outputs.append(value)
        elif isinstance(value, dict):
            for inner in value.values():
                note(inner)
        elif isinstance(value, list):
            for inner in value:
                note(inner)

    def fill(value: Any, known: Iterator[Any]) -> Any:
        if isinstance(value, pulumi.Output):
            return next(known)
        if isinstance(value, dict):
            return {key: fill(inner, known) for key, inner in value.items()}
        return [fill(inner, known) for inner in value] if isinstance(value, list) else value

    text = {"Version": "2012-10-17", "Statement": list(statements)}
    note(text)
    return pulumi.Output.all(*outputs).apply(lambda known: json.dumps(fill(text, iter(known)), sort_keys=True))


def trust(service: str, account: str | None = None, actions: Sequence[str] = ("sts:AssumeRole",)) -> str:
    """Who may assume a role: one service, and (`account`) only on behalf of this account's resources."""
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Principal": {"Service": service}}
    if account:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)


def trust_pods() -> str:
    """The trust of a role for EKS pod identity."""
    return trust("pods.eks.amazonaws.com", actions=("sts:AssumeRole", "sts:TagSession"))


def service_role(
    name: str,
    trusted: str,
    statements: Sequence[Statement] = (),
    managed: Sequence[str] = (),
    opts: pulumi.ResourceOptions | None = None,
) -> aws.iam.Role:
    """A role with one inline policy of these statements, and managed ones by ARN."""
    role = aws.iam.Role(name, assume_role_policy=trusted, force_detach_policies=True, opts=opts)
    if statements:
        aws.iam.RolePolicy(name, role=role.id, policy=document(*statements), opts=opts)
    for arn in managed:
        aws.iam.RolePolicyAttachment(f"{name}-{arn.rsplit('/', 1)[-1]}", role=role.name, policy_arn=arn, opts=opts)
    return role
