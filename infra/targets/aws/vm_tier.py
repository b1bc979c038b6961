"""The VM tier: the machines of every workload that the plan places there, and what they may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.spec import Workload
from infra.spec.models import OsRelease
from infra.targets.aws.artifacts import ARTIFACTS, bucket_arn
from infra.targets.aws.cidr import Tier
from infra.targets.aws.config import VmTierConfig
from infra.targets.aws.firewall import Firewall, machine_group
from infra.targets.aws.iam import Statement, allow, service_role, trust
from infra.targets.aws.machine import Bundle, RootImage, StatefulMember, StatefulMemberArgs
from infra.targets.aws.network import Network
from infra.targets.aws.observability import COMMANDS, SESSIONS, log_group_name
from infra.targets.aws.site import Site, workload_tags
from infra.targets.aws.sizes import instance_type


@dataclass(frozen=True)
class VmTierArgs:
    """
    Attributes:
        images: by OS release.
    """

    site: Site
    plan: Plan
    config: VmTierConfig
    zones: Sequence[str]
    network: Network
    firewall: Firewall
    images: Mapping[OsRelease, RootImage]
    key_arn: pulumi.Input[str]
    bundle: Bundle
    alarm_topic_arn: pulumi.Input[str]
    protect: bool


class VmTier(pulumi.ComponentResource):
    """Every workload that the plan places on machines: a role, a secret, and members that are rolled one at a time.

    Attributes:
        members: by workload, in order.
        zone: the private DNS zone in which members and workloads have names.
    """

    members: dict[str, list[StatefulMember]]

    def __init__(self, name: str, args: VmTierArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:VmTier", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.domain = domain(args.site)
        self.members = {}
        dns = aws.route53.Zone(
            name, name=self.domain, vpcs=[aws.route53.ZoneVpcArgs(vpc_id=args.network.vpc_id)], opts=self._child
        )
        for workload, spec in args.plan.on(Runtime.VM).items():
            self.members[workload] = self._members(workload, spec)
            hosts = {member.host: [member] for member in self.members[workload]}
            for label, behind in {**hosts, workload: self.members[workload]}.items():
                aws.route53.Record(
                    f"{name}-{label}",
                    zone_id=dns.zone_id,
                    name=f"{label}.{self.domain}",
                    type="A",
                    ttl=60,
                    records=[member.private_ip for member in behind],
                    opts=self._child,
                )
        self.register_outputs({})

    def _members(self, workload: str, spec: Workload) -> list[StatefulMember]:
        args = self._args
        secret = self._secret(workload)
        role = service_role(
            f"{self._name}-{workload}",
            trust("ec2.amazonaws.com"),
            [
                *member_statements(args.site, workload),
                *args.bundle.readable,
                *(secret_statements(args.site, secret.arn, args.key_arn) if secret else []),
            ],
            opts=self._child,
        )
        profile = aws.iam.InstanceProfile(f"{self._name}-{workload}", role=role.name, opts=self._child)
        size = args.config.instance_types.get(workload) or instance_type(spec)
        assert size, "parse_config refuses a plan with a workload that no type can hold"
        members: list[StatefulMember] = []
        for ordinal in range(spec.replicas):
            zone = args.zones[ordinal % len(args.zones)]
            members.append(
                StatefulMember(
                    f"{self._name}-{workload}-{ordinal}",
                    StatefulMemberArgs(
                        site=args.site,
                        workload=workload,
                        spec=spec,
                        ordinal=ordinal,
                        zone=zone,
                        subnet_id=args.network.subnets[Tier.ISOLATED][zone].id,
                        security_group_ids=args.firewall.group_ids(machine_group(workload)),
                        image=args.images[spec.os],
                        instance_type=size,
                        instance_profile=profile.arn,
                        key_arn=args.key_arn,
                        bundle=args.bundle,
                        alarm_topic_arn=args.alarm_topic_arn,
                        protect=args.protect,
                        after=[members[-1].ready] if members else [],
                    ),
                    self._child,
                )
            )
        return members

    def _secret(self, workload: str) -> aws.secretsmanager.Secret | None:
        """Where the passwords of a workload's callers are kept, if it has any; its first member makes them."""
        if not password_callers(self._args.plan, workload):
            return None
        return aws.secretsmanager.Secret(
            f"{self._name}-{workload}",
            name=f"{self._args.site.path}/{workload}",
            description=f"Passwords of the callers of {workload}",
            kms_key_id=self._args.key_arn,
            recovery_window_in_days=30 if self._args.protect else 0,
            tags=workload_tags(f"{self._args.site.prefix}-{workload}", workload, Runtime.VM.value),
            opts=self._child,
        )


def domain(site: Site) -> str:
    """The private DNS zone in which members and workloads have names."""
    return f"{site.platform}.internal"


def own_inventory(workload: str) -> str:
    """The key of the inventory that a workload's members read: of themselves alone, with their callers' addresses."""
    return f"inventory/{workload}"


def password_callers(plan: Plan, workload: str) -> tuple[str, ...]:
    """Who logs in to a workload by password."""
    return plan.callers_of(workload) if plan.spec.workloads[workload].package == "postgresql" else ()


def ssm_agent_statements() -> list[Statement]:
    """What the SSM agent calls; none of it can be restricted to a resource."""
    return [
        allow(
            [
                "ssm:UpdateInstanceInformation",
                "ssm:ListInstanceAssociations",
                "ssm:PutInventory",
                "ssm:PutComplianceItems",
                "ssm:GetDeployablePatchSnapshotForInstance",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ],
            "*",
        )
    ]


def secret_statements(site: Site, secret_arn: pulumi.Input[str], key_arn: pulumi.Input[str]) -> list[Statement]:
    """Make and read the passwords of one's own callers."""
    return [
        allow(["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"], [secret_arn]),
        allow(
            ["kms:Decrypt", "kms:GenerateDataKey"],
            [key_arn],
            {"StringEquals": {"kms:ViaService": f"secretsmanager.{site.region}.amazonaws.com"}},
        ),
    ]


def member_statements(site: Site, workload: str) -> list[Statement]:
    """The permissions of a workload's members: themselves, their own volumes, their own launch, their own logs."""
    tags = {"hybrid:workload": workload, **site.own}
    mine = {"StringEquals": {f"aws:ResourceTag/{tag}": value for tag, value in tags.items()}}
    return [
        *ssm_agent_statements(),
        allow(["ec2:DescribeVolumes", "logs:DescribeLogGroups"], "*"),
        # A metric is no resource; its namespace is all that one can be held to.
        allow(["cloudwatch:PutMetricData"], "*", {"StringEquals": {"cloudwatch:namespace": "Hybrid/Patching"}}),
        allow(["ssm:GetParameter"], [site.arn("ssm", f"parameter{site.path}/bundle")]),
        allow(["s3:GetObject"], [f"{bucket_arn(site, ARTIFACTS)}/{own_inventory(workload)}.json"]),
        allow(
            ["ssm:GetParameter", "ssm:PutParameter"],
            [site.arn("ssm", f"parameter{site.path}/authorities/{workload}/*")],
        ),
        allow(
            ["ssm:GetDocument", "ssm:DescribeDocument"],
            [site.arn("ssm", f"document/{site.prefix}-*"), site.arn("ssm", "document/AWS-*", account="")],
        ),
        allow(
            ["ssm:DescribeAssociation", "ssm:UpdateAssociationStatus", "ssm:UpdateInstanceAssociationStatus"],
            [
                site.arn("ssm", "association/*"),
                site.arn("ec2", "instance/*"),
                site.arn("ssm", f"document/{site.prefix}-*"),
            ],
        ),
        allow(["ec2:AttachVolume"], [site.arn("ec2", "volume/*"), site.arn("ec2", "instance/*")], mine),
        # By tags: the beginning of a name may be the beginning of another workload's.
        allow(
            ["autoscaling:CompleteLifecycleAction"],
            [site.arn("autoscaling", f"autoScalingGroup:*:autoScalingGroupName/{site.prefix}-{workload}-*")],
            mine,
        ),
        allow(
            ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            [
                site.arn("logs", f"log-group:{log_group_name(site, purpose)}{streams}")
                for purpose in (SESSIONS, COMMANDS)
                for streams in ("", ":*")
            ],
        ),
    ]
