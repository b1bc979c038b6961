"""Backups of what keeps state, as often and as long as its compliance class asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.spec import Compliance
from infra.targets.aws.config import BackupConfig
from infra.targets.aws.events import event, page
from infra.targets.aws.iam import service_role, trust
from infra.targets.aws.site import Site, shortened

TAG = "hybrid:backup"  # on volumes of machines and of pods; its value is the compliance class


@dataclass(frozen=True)
class Schedule:
    cron: str
    keep_days: int


SCHEDULES = {
    Compliance.REGULATED: (Schedule("cron(0 * ? * * *)", 7), Schedule("cron(30 1 ? * * *)", 400)),
    Compliance.INTERNAL: (Schedule("cron(30 1 ? * * *)", 35),),
    Compliance.NONE: (Schedule("cron(30 1 ? * SUN *)", 28),),
}
SHORTEST = min(schedule.keep_days for schedules in SCHEDULES.values() for schedule in schedules)
LONGEST = max(schedule.keep_days for schedules in SCHEDULES.values() for schedule in schedules)


def class_of_pods(plan: Plan) -> Compliance | None:
    """The class of all volumes of pods: the strictest among the workloads that keep something, because they come out of
    one storage class. None if nobody does."""
    elastic = plan.on(Runtime.CONTAINER, Runtime.MICROVM).values()
    classes = [workload.checklist.compliance for workload in elastic if workload.resources.disk]
    return max(classes, key=list(Compliance).index, default=None)


@dataclass(frozen=True)
class BackupArgs:
    """
    Attributes:
        classes: the compliance classes of the stateful workloads.
    """

    site: Site
    config: BackupConfig
    classes: Sequence[Compliance]
    key_arn: pulumi.Input[str]
    alarm_topic_arn: pulumi.Input[str]
    protect: bool


class Backup(pulumi.ComponentResource):
    """A locked vault with a key of its own, a plan a class, and word of every backup that failed.

    Volumes are snapshots that are consistent as after a power cut, which PostgreSQL recovers from. Dumps that can be
    restored elsewhere are the database role's business.
    """

    def __init__(self, name: str, args: BackupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Backup", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        vault = aws.backup.Vault(
            name,
            name=args.site.prefix,
            kms_key_arn=args.key_arn,
            force_destroy=not args.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        if args.config.lock != "off":
            aws.backup.VaultLockConfiguration(
                name,
                backup_vault_name=vault.name,
                min_retention_days=SHORTEST,
                max_retention_days=LONGEST,
                # With a day of grace named, the lock becomes final after it; without, it stays open to the privileged.
                changeable_for_days=args.config.grace_days if args.config.lock == "compliance" else None,
                opts=child,
            )
        # The vault's own notifications know no failures any more: AWS Backup takes these events, and never sends one.
        bad = ["ABORTED", "EXPIRED", "FAILED"]
        for job, state in (("Backup", "state"), ("Restore", "status")):
            page(
                f"{name}-{job.lower()}-failed",
                f"A {job.lower()} job did not end well",
                event("aws.backup", f"{job} Job State Change", **{state: bad}),
                args.alarm_topic_arn,
                child,
            )
        role = service_role(
            name,
            trust("backup.amazonaws.com"),
            managed=[
                args.site.managed_policy(f"service-role/AWSBackupServiceRolePolicyFor{what}")
                for what in ("Backup", "Restores")
            ],
            opts=child,
        )
        for compliance in dict.fromkeys(args.classes):
            label = f"{name}-{compliance.value}"
            plan = aws.backup.Plan(
                label,
                name=shortened(f"{args.site.prefix}-{compliance.value}", 50),
                rules=[
                    aws.backup.PlanRuleArgs(
                        rule_name=f"kept-{schedule.keep_days}-days",
                        target_vault_name=vault.name,
                        schedule=schedule.cron,
                        start_window=60,
                        completion_window=180,
                        lifecycle=aws.backup.PlanRuleLifecycleArgs(delete_after=schedule.keep_days),
                    )
                    for schedule in SCHEDULES[compliance]
                ],
                opts=child,
            )
            aws.backup.Selection(
                label,
                name=compliance.value,
                plan_id=plan.id,
                iam_role_arn=role.arn,
                resources=[args.site.arn("ec2", "volume/*")],
                conditions=[
                    aws.backup.SelectionConditionArgs(
                        string_equals=[
                            aws.backup.SelectionConditionStringEqualArgs(
                                key=f"aws:ResourceTag/{TAG}", value=compliance.value
                            ),
                            *(
                                aws.backup.SelectionConditionStringEqualArgs(key=f"aws:ResourceTag/{tag}", value=value)
                                for tag, value in args.site.own.items()
                            ),
                        ]
                    )
                ],
                opts=child,
            )
        self.register_outputs({})
