"""Patching: what counts as missing, when it may be installed, and who hears when it was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.spec import Compliance
from infra.targets.aws.config import PatchingConfig, WindowConfig
from infra.targets.aws.events import event, page
from infra.targets.aws.iam import ServiceRole, allow, service_role, trust
from infra.targets.aws.machine import StatefulMember, patch_group
from infra.targets.aws.site import Site

DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
CANARY, REST = "canary", "rest"
# Priorities of Debian's packages by how bad a missing security update of one is.
SEVERITIES = {"CRITICAL": ("Required", "Important"), "HIGH": ("Standard",), "MEDIUM": ("Optional", "Extra")}
# What SSM takes: groups of a baseline; and tasks of a window (20), of which a workload has two.
GROUPS_OF_A_BASELINE, WORKLOADS_OF_A_WINDOW = 25, 10
# What members report of themselves (boot/library.sh), and how much of it is too much: a window comes every week.
NAMESPACE, METRIC, LONGEST_DAYS = "Hybrid/Patching", "DaysSincePatched", 7


def cron(window: WindowConfig, group: str) -> str:
    """The canaries' window opens `canary_days` before the others'."""
    back = window.canary_days if group == CANARY else 0
    return f"cron(0 {window.hour} ? * {DAYS[(DAYS.index(window.schedule_day) - back) % 7]} *)"


def groups_of(plan: Plan, config: PatchingConfig) -> dict[str, list[str]]:
    """Workloads by the window that they are patched in. Unless somebody names canaries, they are those of which the
    least depends: the workloads of the lowest compliance class, if there are any above it."""
    machines = plan.on(Runtime.VM)
    canaries = list(config.canaries)
    if not canaries:
        order = list(Compliance)
        ranks = {name: order.index(workload.checklist.compliance) for name, workload in machines.items()}
        lowest = min(ranks.values(), default=0)
        canaries = [name for name, rank in ranks.items() if rank == lowest]
    rest = [name for name in machines if name not in canaries]
    return {group: names for group, names in ((CANARY, canaries), (REST, rest)) if names}


def portions(label: str, workloads: Sequence[str], size: int) -> list[tuple[str, Sequence[str]]]:
    """Workloads in portions of which SSM takes each, and what to call them: the first one has the plain name."""
    starts = range(0, len(workloads), size)
    names = [label, *(f"{label}-{number}" for number in range(2, len(starts) + 1))]
    return [(name, workloads[start : start + size]) for name, start in zip(names, starts, strict=True)]


@dataclass(frozen=True)
class PatchingArgs:
    """
    Attributes:
        documents: the SSM document that runs a playbook, by workload.
    """

    site: Site
    plan: Plan
    config: PatchingConfig
    members: Mapping[str, Sequence[StatefulMember]]
    documents: Mapping[str, pulumi.Input[str]]
    log_group: aws.cloudwatch.LogGroup
    alarm_topic_arn: pulumi.Input[str]


class Patching(pulumi.ComponentResource):
    """A baseline an OS release, a patch group a workload, a window for canaries and one for the rest; several of
    each at the same time where one would hold too many."""

    def __init__(self, name: str, args: PatchingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Patching", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        machines = args.plan.on(Runtime.VM)
        for os in dict.fromkeys(w.os for w in machines.values()):
            of_release = [workload for workload, spec in machines.items() if spec.os == os]
            for label, workloads in portions(os, of_release, GROUPS_OF_A_BASELINE):
                baseline = self._baseline(os, label)
                for workload in workloads:
                    aws.ssm.PatchGroup(
                        f"{name}-{workload}",
                        baseline_id=baseline.id,
                        patch_group=patch_group(args.site, workload),
                        opts=self._child,
                    )
        role = self._role()
        for group, members in groups_of(args.plan, args.config).items():
            for label, workloads in portions(group, members, WORKLOADS_OF_A_WINDOW):
                self._window(group, label, workloads, role)
        self._pages()
        self.register_outputs({})

    def _baseline(self, os: str, label: str) -> aws.ssm.PatchBaseline:
        """Security updates, as bad as the package is important; of every product, since its machines are of one. When
        one may be installed is not decided by age, which SSM cannot tell for Debian, but by the package snapshot: what
        is not in it cannot be installed."""
        return aws.ssm.PatchBaseline(
            f"{self._name}-{label}",
            name=f"{self._args.site.prefix}-{label}",
            description=f"Security updates of {os} by priority",
            operating_system="DEBIAN",
            approval_rules=[
                aws.ssm.PatchBaselineApprovalRuleArgs(
                    compliance_level=severity,
                    enable_non_security=False,
                    patch_filters=[
                        aws.ssm.PatchBaselineApprovalRulePatchFilterArgs(key="PRODUCT", values=["*"]),
                        aws.ssm.PatchBaselineApprovalRulePatchFilterArgs(key="PRIORITY", values=list(priorities)),
                    ],
                )
                for severity, priorities in SEVERITIES.items()
            ],
            tags={"Name": f"{self._args.site.prefix}-{label}"},
            opts=self._child,
        )

    def _role(self) -> ServiceRole:
        site = self._args.site
        return service_role(
            f"{self._name}-window",
            trust("ssm.amazonaws.com"),
            [
                allow(
                    ["ssm:SendCommand"],
                    [site.arn("ec2", "instance/*")],
                    {"StringEquals": {f"ssm:resourceTag/{tag}": value for tag, value in site.own.items()}},
                ),
                allow(
                    ["ssm:SendCommand"],
                    [
                        site.arn("ssm", f"document/{site.prefix}-play-*"),
                        site.arn("ssm", "document/AWS-RunPatchBaseline", account=""),
                    ],
                ),
                allow(
                    ["ssm:GetCommandInvocation", "ssm:ListCommandInvocations", "ssm:ListCommands", "ssm:CancelCommand"],
                    "*",
                ),
                allow(["tag:GetResources", "ssm:DescribeInstanceInformation"], "*"),
            ],
            opts=self._child,
        )

    def _window(self, group: str, portion: str, workloads: Sequence[str], role: ServiceRole) -> None:
        args, label = self._args, f"{self._name}-{portion}"
        window = aws.ssm.MaintenanceWindow(
            label,
            name=f"{args.site.prefix}-{portion}",
            description=f"Patching of {len(workloads)} workloads, which are its targets",  # AWS takes 128 characters
            schedule=cron(args.config.window, group),
            schedule_timezone=args.config.window.timezone,
            duration=args.config.window.hours,
            cutoff=1,
            allow_unassociated_targets=False,
            tags={"Name": label},
            opts=self._child,
        )
        for priority, workload in enumerate(workloads):
            target = aws.ssm.MaintenanceWindowTarget(
                f"{self._name}-{group}-{workload}",
                window_id=window.id,
                name=f"{group}-{workload}",
                resource_type="INSTANCE",
                targets=[
                    aws.ssm.MaintenanceWindowTargetTargetArgs(
                        key="tag:PatchGroup", values=[patch_group(args.site, workload)]
                    )
                ],
                opts=self._child,
            )
            play = {"Playbook": ["playbooks/patch.yml"]}
            scan = {"Operation": ["Scan"], "RebootOption": ["NoReboot"]}
            # First install, then measure: compliance data is of what the machines are after the window.
            self._task(
                f"{self._name}-{group}-{workload}-patch", window, target, args.documents[workload], play, role, priority
            )
            self._task(
                f"{self._name}-{group}-{workload}-scan",
                window,
                target,
                "AWS-RunPatchBaseline",
                scan,
                role,
                100 + priority,
            )

    def _task(
        self,
        label: str,
        window: aws.ssm.MaintenanceWindow,
        target: aws.ssm.MaintenanceWindowTarget,
        document: pulumi.Input[str],
        parameters: Mapping[str, Sequence[str]],
        role: ServiceRole,
        priority: int,
    ) -> None:
        command = aws.ssm.MaintenanceWindowTaskTaskInvocationParametersRunCommandParametersArgs
        output = aws.ssm.MaintenanceWindowTaskTaskInvocationParametersRunCommandParametersCloudwatchConfigArgs
        aws.ssm.MaintenanceWindowTask(
            label,
            name=label,
            window_id=window.id,
            task_type="RUN_COMMAND",
            task_arn=document,
            service_role_arn=role.arn,
            priority=priority,
            # One member at a time, and none after one that failed.
            max_concurrency="1",
            max_errors="0",
            cutoff_behavior="CONTINUE_TASK",
            targets=[aws.ssm.MaintenanceWindowTaskTargetArgs(key="WindowTargetIds", values=[target.id])],
            task_invocation_parameters=aws.ssm.MaintenanceWindowTaskTaskInvocationParametersArgs(
                run_command_parameters=command(
                    timeout_seconds=600,
                    parameters=[
                        aws.ssm.MaintenanceWindowTaskTaskInvocationParametersRunCommandParametersParameterArgs(
                            name=name, values=list(values)
                        )
                        for name, values in parameters.items()
                    ],
                    cloudwatch_config=output(
                        cloudwatch_output_enabled=True, cloudwatch_log_group_name=self._args.log_group.name
                    ),
                )
            ),
            opts=self._child,
        )

    def _pages(self) -> None:
        """A window that failed says so. One that never opened, or opened for nobody, shows in what members report."""
        args, site = self._args, self._args.site
        page(
            f"{self._name}-failed",
            "A maintenance window did not end well",
            event(
                "aws.ssm",
                "Maintenance Window Execution State-change Notification",
                status=["FAILED", "TIMED_OUT", "CANCELLED", "SKIPPED_OVERLAPPING"],
            ),
            args.alarm_topic_arn,
            self._child,
        )
        for workload, members in args.members.items():
            for member in members:
                label = f"{self._name}-{member.host}-missed"
                aws.cloudwatch.MetricAlarm(
                    label,
                    alarm_description=f"{member.host} ({workload}) was not patched for more than {LONGEST_DAYS} days",
                    namespace=NAMESPACE,
                    metric_name=METRIC,
                    dimensions={"Platform": site.prefix, "Member": member.host},
                    statistic="Minimum",
                    comparison_operator="GreaterThanThreshold",
                    threshold=LONGEST_DAYS,
                    # Members report daily: a day and a half without a good word is none.
                    period=6 * 3600,
                    evaluation_periods=6,
                    treat_missing_data="breaching",
                    alarm_actions=[args.alarm_topic_arn],
                    ok_actions=[args.alarm_topic_arn],
                    tags={"hybrid:workload": workload, "hybrid:runtime": Runtime.VM.value},
                    opts=self._child,
                )
