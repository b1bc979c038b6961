"""The way in: one load balancer for all public workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.targets.aws.artifacts import PrivateBucket, bucket_name
from infra.targets.aws.cidr import Tier
from infra.targets.aws.config import IngressConfig
from infra.targets.aws.firewall import BALANCER, Firewall
from infra.targets.aws.iam import grant
from infra.targets.aws.machine import StatefulMember
from infra.targets.aws.network import Network
from infra.targets.aws.public import node_port, public_workloads
from infra.targets.aws.site import Site, shortened, workload_tags

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
ACCESS_LOGS = "access-logs"


@dataclass(frozen=True)
class IngressArgs:
    """
    Attributes:
        members: the machines of the VM tier, by workload.
        groups: the Auto Scaling groups of nodes, by the runtime that they run.
    """

    site: Site
    plan: Plan
    config: IngressConfig
    network: Network
    firewall: Firewall
    members: Mapping[str, Sequence[StatefulMember]]
    groups: Mapping[Runtime, Sequence[pulumi.Output[str]]]
    alarm_topic_arn: pulumi.Input[str]
    log_days: int
    protect: bool


class Ingress(pulumi.ComponentResource):
    """A load balancer that belongs to Pulumi, not to a controller in the cluster: `pulumi destroy` knows all of it.

    Attributes:
        url: where the first public workload answers.
    """

    def __init__(self, name: str, args: IngressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Ingress", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self._outside = args.config.certificate_arn is not None
        logs = self._access_logs()
        self._balancer = aws.lb.LoadBalancer(
            name,
            load_balancer_type="application",
            internal=not self._outside,
            subnets=args.network.subnet_ids(Tier.PUBLIC if self._outside else Tier.PRIVATE),
            security_groups=[args.firewall.group_id(BALANCER)],
            drop_invalid_header_fields=True,
            desync_mitigation_mode="strictest",
            enable_deletion_protection=args.protect,
            access_logs=aws.lb.LoadBalancerAccessLogsArgs(bucket=logs.name, enabled=True),
            tags={"Name": args.site.prefix},
            opts=pulumi.ResourceOptions(parent=self, depends_on=logs.ready),
        )
        groups = {workload: self._target_group(workload) for workload in public_workloads(args.plan)}
        self._listen(groups)
        self.url: pulumi.Input[str] = (
            f"https://{args.config.hostname}"
            if self._outside
            else pulumi.Output.concat("http://", self._balancer.dns_name)
        )
        self.register_outputs({"url": self.url})

    def _access_logs(self) -> PrivateBucket:
        label = bucket_name(self._args.site, ACCESS_LOGS)
        target = self._args.site.arn("s3", f"{label}/AWSLogs/{self._args.site.account}/*", region="", account="")
        return PrivateBucket(
            f"{self._name}-{ACCESS_LOGS}",
            label,
            None,  # load balancers can write with the keys of S3 only
            self._args.protect,
            [grant({"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}, ["s3:PutObject"], [target])],
            expire_days=self._args.log_days,
            opts=self._child,
        )

    def _target_group(self, workload: str) -> aws.lb.TargetGroup:
        args, placement = self._args, self._args.plan.placement(workload)
        spec = args.plan.spec.workloads[workload]
        on_machine = placement.runtime is Runtime.VM
        kind, port = ("ip", spec.ports[0]) if on_machine else ("instance", node_port(workload))
        group = aws.lb.TargetGroup(
            f"{self._name}-{workload}",
            # With what AWS changes by replacement in it, so that the new one can come before the old one goes.
            name=shortened(f"{workload}-{port}-{args.site.prefix}", 32),
            vpc_id=args.network.vpc_id,
            target_type=kind,
            port=port,
            protocol="HTTP",
            deregistration_delay=30,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                path="/healthz", matcher="200", interval=10, timeout=5, healthy_threshold=2, unhealthy_threshold=3
            ),
            tags=workload_tags(f"{args.site.prefix}-{workload}", workload, placement.runtime.value),
            opts=self._child,
        )
        for member in args.members.get(workload, ()):
            aws.lb.TargetGroupAttachment(
                f"{self._name}-{member.host}",
                target_group_arn=group.arn,
                target_id=member.private_ip,
                opts=self._child,
            )
        for index, nodes in enumerate([] if on_machine else args.groups[placement.runtime]):
            aws.autoscaling.Attachment(
                f"{self._name}-{workload}-{index}",
                autoscaling_group_name=nodes,
                lb_target_group_arn=group.arn,
                opts=self._child,
            )
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-{workload}-unhealthy",
            alarm_description=f"{workload} has no healthy target behind the load balancer",
            namespace="AWS/ApplicationELB",
            metric_name="HealthyHostCount",
            dimensions={"LoadBalancer": self._balancer.arn_suffix, "TargetGroup": group.arn_suffix},
            statistic="Maximum",
            comparison_operator="LessThanThreshold",
            threshold=1,
            period=60,
            evaluation_periods=3,
            treat_missing_data="breaching",
            alarm_actions=[args.alarm_topic_arn],
            ok_actions=[args.alarm_topic_arn],
            opts=self._child,
        )
        return group

    def _listen(self, groups: Mapping[str, aws.lb.TargetGroup]) -> None:
        """The first public workload by default, the others by host name (`<workload>.<hostname>`)."""
        first = next(iter(groups.values()))
        encrypted = {
            "protocol": "HTTPS",
            "port": 443,
            "certificate_arn": self._args.config.certificate_arn,
            "ssl_policy": TLS_POLICY,
        }
        listener = aws.lb.Listener(
            self._name,
            load_balancer_arn=self._balancer.arn,
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=first.arn)],
            opts=self._child,
            **(encrypted if self._outside else {"protocol": "HTTP", "port": 80}),
        )
        for priority, (workload, group) in enumerate(list(groups.items())[1:], start=1):
            aws.lb.ListenerRule(
                f"{self._name}-{workload}",
                listener_arn=listener.arn,
                priority=priority,
                actions=[aws.lb.ListenerRuleActionArgs(type="forward", target_group_arn=group.arn)],
                conditions=[
                    aws.lb.ListenerRuleConditionArgs(
                        host_header=aws.lb.ListenerRuleConditionHostHeaderArgs(values=[f"{workload}.*"])
                    )
                ],
                opts=self._child,
            )
