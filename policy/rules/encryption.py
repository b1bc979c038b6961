"""Everything at rest is encrypted, with keys that this account can take away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from policy.resources import Deployment, Resource, Violation, json_of, listed, rule, violation

# The property that names the key, by type.
KEYED = {
    "secretsmanager/secret": "kmsKeyId",
    "sns/topic": "kmsMasterKeyId",
    "backup/vault": "kmsKeyArn",
    "cloudtrail/trail": "kmsKeyId",
    "codebuild/project": "encryptionKey",
}


def is_ours(key: Any) -> bool:
    """Whether a key is given, and is none of those that AWS keeps for everybody in the account."""
    return bool(key) and "alias/aws/" not in str(key)


@rule
def disks_are_encrypted_with_our_key(deployment: Deployment) -> Iterator[Violation]:
    """Every volume, and every disk of a machine, a launch template or an image recipe, is encrypted with a key of ours:
    a lost disk or a shared snapshot then tells nothing."""
    for group in deployment.of("eks/nodeGroup"):
        if not group.props.get("launchTemplate"):
            yield violation(group, "has no launch template, so that its nodes' disks are not encrypted with our key")
    for resource in deployment.of("ebs/volume", "ec2/launchTemplate", "ec2/instance", "imagebuilder/imageRecipe"):
        disks = list(_disks(resource))
        if not disks:
            yield violation(resource, "says nothing about its root disk, so that it is what the image says")
        for disk in disks:
            if str(disk.get("encrypted")).lower() != "true":
                yield violation(resource, "has a disk that is not encrypted")
            elif not is_ours(disk.get("kmsKeyId")):
                yield violation(resource, "has a disk that is encrypted with a key of AWS, not with ours")


def _disks(resource: Resource) -> Iterator[dict[str, Any]]:
    if resource.is_a("ebs/volume"):
        yield dict(resource.props)
    for mapping in resource.props.get("blockDeviceMappings") or ():
        yield mapping.get("ebs") or {}
    if resource.props.get("rootBlockDevice"):
        yield resource.props["rootBlockDevice"]
    yield from resource.props.get("ebsBlockDevices") or ()


@rule
def services_encrypt_with_our_key(deployment: Deployment) -> Iterator[Violation]:
    """Secrets, topics, vaults, trails, build artifacts, registries and the secrets of Kubernetes have a key of ours."""
    for kind, key in KEYED.items():
        for resource in deployment.of(kind):
            if not is_ours(resource.props.get(key)):
                yield violation(resource, f"has no {key} of ours")
    for repository in deployment.of("ecr/repository"):
        encryption = (repository.props.get("encryptionConfigurations") or [{}])[0]
        if encryption.get("encryptionType") != "KMS" or not is_ours(encryption.get("kmsKey")):
            yield violation(repository, "is not encrypted with a key of ours")
    for cluster in deployment.of("eks/cluster"):
        encryption = cluster.props.get("encryptionConfig") or {}
        if "secrets" not in (encryption.get("resources") or ()) or not (encryption.get("provider") or {}).get("keyArn"):
            yield violation(cluster, "keeps Kubernetes secrets unencrypted by a key of ours")


@rule
def logs_are_encrypted_and_expire(deployment: Deployment) -> Iterator[Violation]:
    """Log groups have a key and a retention: what is kept for ever is found by somebody one day."""
    for group in deployment.of("cloudwatch/logGroup"):
        if not group.props.get("kmsKeyId"):
            yield violation(group, "has no kmsKeyId")
        if not group.props.get("retentionInDays"):
            yield violation(group, "never forgets: it has no retentionInDays")


@rule
def keys_rotate(deployment: Deployment) -> Iterator[Violation]:
    """Keys are rotated every year, and a deleted one can be called back for at least a week."""
    for key in deployment.of("kms/key"):
        if not key.props.get("enableKeyRotation") or (key.props.get("rotationPeriodInDays") or 365) > 365:
            yield violation(key, "does not rotate every year")
        if (key.props.get("deletionWindowInDays") or 30) < 7:
            yield violation(key, "is gone within days of a mistake")


@rule
def buckets_are_private_encrypted_and_versioned(deployment: Deployment) -> Iterator[Violation]:
    """Each bucket blocks public access in all four ways, is encrypted, keeps versions and refuses plain HTTP."""
    for bucket in deployment.of("s3/bucket"):
        block = _about(deployment, bucket, "s3/bucketPublicAccessBlock")
        for switch in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            if not (block and block.props.get(switch)):
                yield violation(bucket, f"does not {switch}")
        if not _about(deployment, bucket, "s3/bucketServerSideEncryptionConfiguration"):
            yield violation(bucket, "says nothing about encryption")
        versioning = _about(deployment, bucket, "s3/bucketVersioning")
        if not versioning or versioning.props["versioningConfiguration"].get("status") != "Enabled":
            yield violation(bucket, "forgets what is overwritten")
        policy = _about(deployment, bucket, "s3/bucketPolicy")
        if not (policy and _refuses_plain_http(policy.props.get("policy"))):
            yield violation(bucket, "accepts plain HTTP")


def _refuses_plain_http(policy: Any) -> bool:
    """Whether the policy says no to everybody who comes without TLS; one that is not known yet may."""
    document = json_of(policy) if policy else {}
    return document is None or any(
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and "s3:*" in listed(statement.get("Action"))
        and str((statement.get("Condition") or {}).get("Bool", {}).get("aws:SecureTransport")).lower() == "false"
        for statement in listed(document.get("Statement") or [])
    )


def _about(deployment: Deployment, bucket: Resource, kind: str) -> Resource | None:
    """The part of a bucket's configuration that is a resource of its own: it depends on the bucket."""
    return next((part for part in deployment.of(kind) if bucket.urn in part.depends_on), None)
