"""Encryption keys: one a purpose, so that a grant on one opens nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.targets.aws.iam import Statement, document, grant
from infra.targets.aws.site import Site

USE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
FOR_AWS_ONLY = {"Bool": {"kms:GrantIsForAWSResource": "true"}}  # a grant that somebody makes for himself is refused


@dataclass(frozen=True)
class KeysArgs:
    """
    Attributes:
        protect: whether a key can be deleted by a slip.
        keep: whether keys stay when the stack goes, because what they encrypt does: snapshots, locked backups.
    """

    site: Site
    protect: bool
    keep: bool


class Keys(pulumi.ComponentResource):
    """Customer-managed keys, rotated every year.

    Attributes:
        data: volumes, images and secrets of the VM tier; snapshots and backups of a volume have its key, too.
        logs: log groups, alarms and the audit trail.
        cluster: Kubernetes secrets and the volumes of pods and nodes.
        artifacts: bundles, packages and container images.
        backup: the backup vault, for what AWS Backup encrypts itself: copies, and kinds of backup to come.
    """

    data: aws.kms.Key
    logs: aws.kms.Key
    cluster: aws.kms.Key
    artifacts: aws.kms.Key
    backup: aws.kms.Key

    def __init__(self, name: str, args: KeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Keys", name, None, opts)
        self._args, self._site, self._name = args, args.site, name
        self._child = pulumi.ResourceOptions(parent=self)
        self.data = self._key("data", *through_ec2(args.site))
        self.logs = self._key("logs", *for_logs(args.site))
        self.cluster = self._key("cluster", *through_ec2(args.site))
        self.artifacts = self._key("artifacts")
        self.backup = self._key("backup")
        self.register_outputs({"data": self.data.arn, "backup": self.backup.arn})

    def _key(self, purpose: str, *users: Statement) -> aws.kms.Key:
        key = aws.kms.Key(
            f"{self._name}-{purpose}",
            description=f"{self._site.prefix}: {purpose}",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=document(administered_by_account(self._site), *users),
            opts=pulumi.ResourceOptions(parent=self, protect=self._args.protect, retain_on_delete=self._args.keep),
        )
        aws.kms.Alias(
            f"{self._name}-{purpose}",
            name=f"alias/{self._site.prefix}/{purpose}",
            target_key_id=key.key_id,
            opts=self._child,
        )
        return key


def administered_by_account(site: Site) -> Statement:
    """Leave it to IAM who in this account may use the key; without this a key can lock everybody out."""
    return grant({"AWS": site.arn("iam", "root", region="")}, ["kms:*"])


def through_ec2(site: Site) -> tuple[Statement, ...]:
    """Let EC2 use the key for volumes on behalf of anybody in this account who may launch there.

    The service-linked role of Auto Scaling launches our members, and holds no permission on our keys. It is not
    named here because in a fresh account it does not exist yet, and a key policy with an unknown principal fails.
    """
    through = {"kms:CallerAccount": site.account, "kms:ViaService": f"ec2.{site.region}.amazonaws.com"}
    return (
        grant({"AWS": "*"}, USE, conditions={"StringEquals": through}),
        grant({"AWS": "*"}, ["kms:CreateGrant"], conditions={"StringEquals": through, **FOR_AWS_ONLY}),
    )


def for_logs(site: Site) -> tuple[Statement, ...]:
    """CloudWatch Logs for this account's groups, alarms into encrypted topics, and CloudTrail for this account."""
    trail, anywhere = (site.arn("cloudtrail", f"trail/{site.prefix}", region=region) for region in (None, "*"))
    return (
        grant(
            {"Service": f"logs.{site.region}.amazonaws.com"},
            USE,
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": site.arn("logs", "log-group:*")}},
        ),
        *(
            grant({"Service": service}, ["kms:Decrypt", "kms:GenerateDataKey*"], conditions=conditions)
            for service, conditions in paging_services(site).items()
        ),
        grant(
            {"Service": "cloudtrail.amazonaws.com"},
            ["kms:GenerateDataKey*"],
            # The trail stands here; events of other regions are encrypted in the name of theirs.
            conditions={
                "StringEquals": {"aws:SourceArn": trail},
                "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": anywhere},
            },
        ),
        grant(
            {"Service": "cloudtrail.amazonaws.com"},
            ["kms:DescribeKey"],
            conditions={"StringEquals": {"aws:SourceArn": trail}},
        ),
    )


def paging_services(site: Site) -> dict[str, dict[str, dict[str, str]] | None]:
    """The services that publish to the encrypted alarm topic, and the conditions under which they may: on behalf of
    this account only. EventBridge says on the way to a topic on whose behalf it comes to neither SNS nor KMS; under any
    condition its messages are dropped without a word."""
    of_account = {"StringEquals": {"aws:SourceAccount": site.account}}
    return {
        "cloudwatch.amazonaws.com": of_account,
        "budgets.amazonaws.com": of_account,
        "events.amazonaws.com": None,
    }
