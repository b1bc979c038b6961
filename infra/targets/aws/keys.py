"""Encryption keys: one a purpose, so that a grant on one opens nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.targets.aws.iam import Statement, document, grant
from infra.targets.aws.site import Site

USE = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")


@dataclass(frozen=True)
class KeysArgs:
    site: Site


class Keys(pulumi.ComponentResource):
    """Customer-managed keys, rotated every year.

    Attributes:
        data: volumes, images and secrets of the VM tier.
        logs: log groups, alarms and the audit trail.
        cluster: Kubernetes secrets and the volumes of pods and nodes.
        artifacts: bundles, packages and container images.
        backup: the backup vault; apart from `data`, so that losing one does not lose the other.
    """

    data: aws.kms.Key
    logs: aws.kms.Key
    cluster: aws.kms.Key
    artifacts: aws.kms.Key
    backup: aws.kms.Key

    def __init__(self, name: str, args: KeysArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Keys", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self._site, self._name, self._child = args.site, name, child
        self.data = self._key("data", through_ec2(args.site))
        self.logs = self._key("logs", *for_logs(args.site))
        self.cluster = self._key("cluster", through_ec2(args.site))
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
            opts=self._child,
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


def through_ec2(site: Site) -> Statement:
    """Let EC2 use the key for volumes on behalf of anybody in this account who may launch there.

    The service-linked role of Auto Scaling launches our members, and holds no permission on our keys. It is not
    named here because in a fresh account it does not exist yet, and a key policy with an unknown principal fails.
    """
    return grant(
        {"AWS": "*"},
        [*USE, "kms:CreateGrant"],
        conditions={
            "StringEquals": {"kms:CallerAccount": site.account, "kms:ViaService": f"ec2.{site.region}.amazonaws.com"}
        },
    )


def for_logs(site: Site) -> tuple[Statement, ...]:
    """CloudWatch Logs for this account's groups, alarms into encrypted topics, and CloudTrail for this account."""
    of_account = {"StringEquals": {"aws:SourceAccount": site.account}}
    return (
        grant(
            {"Service": f"logs.{site.region}.amazonaws.com"},
            USE,
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": site.arn("logs", "log-group:*")}},
        ),
        grant(
            {"Service": ["cloudwatch.amazonaws.com", "events.amazonaws.com", "backup.amazonaws.com"]},
            ["kms:Decrypt", "kms:GenerateDataKey*"],
            conditions=of_account,
        ),
        grant({"Service": "budgets.amazonaws.com"}, ["kms:Decrypt", "kms:GenerateDataKey*"], conditions=of_account),
        grant(
            {"Service": "cloudtrail.amazonaws.com"},
            ["kms:GenerateDataKey*", "kms:DescribeKey"],
            conditions={"StringEquals": {"aws:SourceArn": site.arn("cloudtrail", f"trail/{site.prefix}")}},
        ),
    )
