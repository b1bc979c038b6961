"""A linter for IAM documents: least privilege, said without negations, by nobody in particular never."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

from policy.resources import Deployment, Resource, Violation, json_of, listed, rule, violation

# Where each type keeps its document, and whose it is: an identity's, or a resource's own (which names principals).
IDENTITY = {"iam/rolePolicy": "policy", "iam/policy": "policy"}
RESOURCE = {
    "kms/key": "policy",
    "s3/bucketPolicy": "policy",
    "sns/topicPolicy": "policy",
    "ecr/repositoryPolicy": "policy",
    "secretsmanager/secretPolicy": "policy",
    "backup/vaultPolicy": "policy",
    "cloudwatch/logResourcePolicy": "policyDocument",
}
OWN = ("kms/key", "secretsmanager/secretPolicy", "backup/vaultPolicy")  # in which `*` is the resource itself
ENDPOINT = {"ec2/vpcEndpoint": "policy"}  # who and what may pass; what they reach has a policy of its own
TRUST = {"iam/role": "assumeRolePolicy"}

# Actions that AWS lets nobody restrict to a resource (Service Authorization Reference): these may say "*".
UNRESTRICTABLE = {
    "autoscaling": ("Describe",),
    "cloudwatch": ("PutMetricData",),
    "ec2": ("Describe", "GetInstanceTypesFromInstanceRequirements"),
    "ecr": ("GetAuthorizationToken",),
    "logs": ("DescribeLogGroups",),
    "ssm": (
        "CancelCommand",
        "DescribeInstanceInformation",
        "GetCommandInvocation",
        "GetDeployablePatchSnapshotForInstance",
        "ListCommand",
        "ListInstanceAssociations",
        "PutComplianceItems",
        "PutInventory",
        "UpdateInstanceInformation",
    ),
    "ssmmessages": ("",),
    "tag": ("GetResources",),
}
# Conditions that tie an anonymous principal to this account or to this network.
BOUNDS = ("aws:PrincipalAccount", "kms:CallerAccount", "aws:SourceVpce", "aws:SourceArn", "aws:SourceAccount")
# And what ties a service to it, when it acts for somebody: or it is a deputy that anybody can confuse.
ON_BEHALF = (*BOUNDS, "kms:EncryptionContext:", "aws:RequestTag/eks-cluster-arn")
# Services that AWS gives no such condition, each with what holds it instead.
TRUSTED_SERVICES = {
    "ec2.amazonaws.com",  # hands a role to machines of its own account only
    "events.amazonaws.com",  # publishes to a topic without saying for whom; it can do nothing else there
    "logdelivery.elasticloadbalancing.amazonaws.com",  # writes below the account's number, which the statement names
}
# They say as little when they assume a role, which only its own account can hand them.
TRUSTED_WITH_ROLES = {
    "backup.amazonaws.com",
    "cloudtrail.amazonaws.com",
    "imagebuilder.amazonaws.com",
    "ssm.amazonaws.com",
}
FORBIDDEN_MANAGED = ("Administrator", "PowerUserAccess", "FullAccess", "IAMFull", "AmazonEC2RoleforSSM")
ACCOUNT = re.compile(r"(?<!\d)\d{12}(?!\d)")
# `*`, `arn:aws:s3:::*` and the like; and all of a kind that opens everything else.
EVERY_RESOURCE = re.compile(
    r"[*?]+|arn:[*?]+|arn(:[^:]*){4}:([*?/]+|(key|role|policy|user)/[*?]+|(secret|parameter)[:/][*?]+)"
)


def is_unrestrictable(action: str) -> bool:
    service, _, verb = action.partition(":")
    return any(verb.startswith(start) for start in UNRESTRICTABLE.get(service, ()))


def lint(document: Any, *, kind: str, own_resource: bool = False) -> Iterator[str]:
    """What is wrong with a policy document.

    Args:
        kind: identity, resource, endpoint or trust.
        own_resource: whether `*` means the one resource that the document is attached to (keys, secrets, vaults).
    """
    if document.get("Version") != "2012-10-17":
        yield "is not of version 2012-10-17, so that its variables are text"
    statements = listed(document.get("Statement") or [])
    if not statements:
        yield "has no statement"
    for statement in statements:
        for negation in ("NotAction", "NotResource", "NotPrincipal"):
            if negation in statement and statement.get("Effect") != "Deny":
                yield f"says {negation}: what is new tomorrow is allowed tomorrow"
        if statement.get("Effect") == "Deny":
            continue
        bounded = _is_bound(statement, BOUNDS)
        yield from _actions(statement, kind, bounded)
        if kind == "identity" and _is_about_everything(statement):
            loose = [a for a in listed(statement.get("Action", [])) if not is_unrestrictable(a)]
            if loose:
                yield f"allows {', '.join(loose)} on every resource there is"
        if kind != "identity":
            yield from _principals(statement, kind, bounded)
            yield from _deputies(statement, TRUSTED_SERVICES | (TRUSTED_WITH_ROLES if kind == "trust" else set()))
        if kind == "resource" and not own_resource and _is_about_everything(statement):
            yield "is about every resource there is"


def _is_about_everything(statement: Mapping[str, Any]) -> bool:
    return any(EVERY_RESOURCE.fullmatch(str(resource)) for resource in listed(statement.get("Resource") or []))


def _is_bound(statement: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether a condition holds the statement to a value of one of these names: not to any value but one, not only if
    there is one, not to a pattern that fits everything."""
    return any(
        key.lower().startswith(tuple(name.lower() for name in names))
        and all(str(value).strip("*?") for value in listed(values))
        for operator, block in (statement.get("Condition") or {}).items()
        if "Not" not in operator and not operator.endswith("IfExists") and operator != "Null"
        if not operator.startswith("ForAllValues:")
        for key, values in block.items()
    )


def _actions(statement: dict[str, Any], kind: str, bounded: bool) -> Iterator[str]:
    for action in listed(statement.get("Action", [])):
        service, _, verb = action.partition(":")
        administration = kind == "resource" and action == "kms:*" and ":root" in str(statement.get("Principal"))
        excused = administration or (kind == "endpoint" and bounded)
        if not (service.strip("*?") and (verb or "*").strip("*?")) and not excused:
            yield f"allows {action}, which is everything"


def _principals(statement: dict[str, Any], kind: str, bounded: bool) -> Iterator[str]:
    principal = statement.get("Principal")
    named = principal.values() if isinstance(principal, Mapping) else [principal]
    # A gateway endpoint may be open to all who are inside, if it leads to named buckets only.
    leads_somewhere = kind == "endpoint" and not _is_about_everything(statement)
    if not principal:
        yield "names no principal"
    elif any("*" in listed(names) for names in named) and not bounded and not leads_somewhere:
        yield "is for everybody in the world"


def _deputies(statement: dict[str, Any], trusted: Set[str]) -> Iterator[str]:
    principal = statement.get("Principal")
    services = set(listed(principal.get("Service") or [])) if isinstance(principal, dict) else set()
    if not _is_bound(statement, ON_BEHALF):
        for service in sorted(services - trusted):
            yield f"lets {service} act for anybody: it names no account"


def documents(deployment: Deployment) -> Iterator[tuple[Resource, str, str]]:
    """Every policy document of a deployment: its resource, its kind, the property it is in."""
    for kind, where in (
        ("identity", IDENTITY),
        ("resource", RESOURCE),
        ("endpoint", ENDPOINT),
        ("trust", TRUST),
    ):
        for type_, key in where.items():
            for resource in deployment.of(type_):
                yield resource, kind, key


@rule
def iam_documents_grant_little(deployment: Deployment) -> Iterator[Violation]:
    """Policies name actions and resources; what cannot be restricted is on a list with its reason; nobody is
    everybody or of another account; and there is no allowing by exception."""
    ours = " ".join(str(p.props.get("allowedAccountIds") or "") for p in deployment.of("pulumi:providers:aws"))
    for resource, kind, key in documents(deployment):
        try:
            document = json_of(resource.props.get(key))
        except ValueError:
            yield violation(resource, f"its {key} is not JSON")
            continue
        own = any(map(resource.is_a, OWN))
        if document is None:
            if resource.props.get(key) is None:
                yield violation(resource, f"has no {key}, so that AWS's own holds, which allows too much")
            continue
        for fault in (*lint(document, kind=kind, own_resource=own), *_strangers(document, ours)):
            yield violation(resource, fault)


def _strangers(document: Mapping[str, Any], ours: str) -> Iterator[str]:
    """Accounts that are let in and are not ours; `ours` is empty where nobody says which are."""
    for statement in listed(document.get("Statement") or []):
        named = set(ACCOUNT.findall(str(statement.get("Principal")))) if statement.get("Effect") == "Allow" else set()
        for account in sorted(account for account in named if ours and account not in ours):
            yield f"lets in account {account}, which is not ours"


@rule
def no_role_is_an_administrator(deployment: Deployment) -> Iterator[Violation]:
    """Managed policies that open a whole service are for people with two keys, not for machines."""
    for attachment in deployment.of("iam/rolePolicyAttachment"):
        name = str(attachment.props.get("policyArn")).rsplit("/", 1)[-1]
        if any(forbidden in name for forbidden in FORBIDDEN_MANAGED):
            yield violation(attachment, f"attaches {name}")
    for role in deployment.of("iam/role"):
        if role.props.get("inlinePolicies") or role.props.get("managedPolicyArns"):
            yield violation(role, "has policies inside; as resources of their own they are linted")
