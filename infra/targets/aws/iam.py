"""IAM documents, by plain functions; `policy/rules/iam.py` lints every one of them in the recorded graphs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


def deny_plain_http(actions: Sequence[str], resources: Sequence[Any]) -> Statement:
    return {
        "Effect": "Deny",
        "Principal": "*",
        "Action": list(actions),
        "Resource": list(resources),
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


def trust(service: str, account: str | None = None) -> str:
    """Who may assume a role: one service, and (`account`) only on behalf of this account's resources.

    Without `account` for services whose documentation has no such condition: who does not say on whose behalf it comes
    is refused under one (as users report of CloudTrail). Nobody can hand a role to a service from another account.
    """
    return _trust(service, ["sts:AssumeRole"], {"aws:SourceAccount": account} if account else {})


def trust_pods(cluster_arn: str, namespace: str, service_account: str) -> str:
    """The trust of a role for EKS pod identity: pods of one service account in one cluster. EKS says who asks by tags
    of the session, which nobody who asks can choose."""
    who = {
        "eks-cluster-arn": cluster_arn,
        "kubernetes-namespace": namespace,
        "kubernetes-service-account": service_account,
    }
    tags = {f"aws:RequestTag/{key}": value for key, value in who.items()}
    return _trust("pods.eks.amazonaws.com", ["sts:AssumeRole", "sts:TagSession"], tags)


def _trust(service: str, actions: Sequence[str], equal: Mapping[str, str]) -> str:
    statement: Statement = {"Effect": "Allow", "Action": list(actions), "Principal": {"Service": service}}
    if equal:
        statement["Condition"] = {"StringEquals": dict(equal)}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, sort_keys=True)


@dataclass(frozen=True)
class ServiceRole:
    """A role with its permissions.

    Its name and ARN are known once the permissions are attached, so that whoever uses the role finds them there, and on
    the way down keeps them until it is gone itself.
    """

    _role: aws.iam.Role
    _permissions: Sequence[pulumi.CustomResource]

    @property
    def name(self) -> pulumi.Output[str]:
        return self._once_attached(self._role.name)

    @property
    def arn(self) -> pulumi.Output[str]:
        return self._once_attached(self._role.arn)

    def _once_attached(self, value: pulumi.Output[str]) -> pulumi.Output[str]:
        attached = (permission.id for permission in self._permissions)
        return pulumi.Output.all(value, *attached).apply(lambda known: known[0])


def service_role(
    name: str,
    trusted: str,
    statements: Sequence[Statement] = (),
    managed: Sequence[str] = (),
    opts: pulumi.ResourceOptions | None = None,
) -> ServiceRole:
    """A role with one inline policy of these statements, and managed ones by ARN."""
    role = aws.iam.Role(name, assume_role_policy=trusted, force_detach_policies=True, opts=opts)
    permissions: list[pulumi.CustomResource] = [
        aws.iam.RolePolicyAttachment(f"{name}-{arn.rsplit('/', 1)[-1]}", role=role.name, policy_arn=arn, opts=opts)
        for arn in managed
    ]
    if statements:
        permissions.append(aws.iam.RolePolicy(name, role=role.id, policy=document(*statements), opts=opts))
    return ServiceRole(role, permissions)
