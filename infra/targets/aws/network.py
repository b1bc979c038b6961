"""The network: three tiers in two or three zones, and private ways to the AWS services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.targets.aws.cidr import Tier, subnet_cidr
from infra.targets.aws.config import ANYWHERE, Nat, NetworkConfig
from infra.targets.aws.iam import allow, document, grant, service_role, trust
from infra.targets.aws.site import Site

GATEWAY_SERVICES = ("s3", "dynamodb")

# What runs without a route to the internet, and what it needs for it.
INTERFACE_SERVICES = {
    "ssm": "Session Manager, Run Command, parameters",
    "ssmmessages": "Session Manager's and Run Command's channel (ec2messages is for agents before 3.3.40)",
    "ec2": "members attach their volume; the network plugin manages addresses",
    "ecr.api": "image pulls",
    "ecr.dkr": "image pulls",
    "sts": "role sessions",
    "kms": "encrypted secrets",
    "logs": "session and command logs",
    "monitoring": "metrics",
    "secretsmanager": "passwords of stateful workloads",
    "autoscaling": "members complete their launch; the cluster autoscaler",
    "eks": "nodes find their cluster",
    "eks-auth": "pod identity",
    "imagebuilder": "golden-image builds",
}


@dataclass(frozen=True)
class NetworkArgs:
    site: Site
    config: NetworkConfig
    zones: Sequence[str]
    log_key_arn: pulumi.Input[str]
    own_buckets: Sequence[pulumi.Input[str]]


class Network(pulumi.ComponentResource):
    """A VPC whose isolated tier has no way out but the endpoints.

    Attributes:
        subnets: by tier and zone.
        s3_prefix_list_id: the destination of rules towards the S3 gateway.
        gateways: the gateway endpoints by service.
    """

    vpc_id: pulumi.Output[str]
    cidr: str
    subnets: dict[Tier, dict[str, aws.ec2.Subnet]]
    gateways: dict[str, aws.ec2.VpcEndpoint]
    s3_prefix_list_id: pulumi.Output[str]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Network", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.cidr = args.config.cidr
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=args.config.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": args.site.prefix},
            opts=self._child,
        )
        self.vpc_id = vpc.id
        # Every VPC is born with a group that lets its members talk to each other; adopting it without rules empties it.
        aws.ec2.DefaultSecurityGroup(
            f"{name}-default", vpc_id=vpc.id, tags={"Name": f"{args.site.prefix}-unused"}, opts=self._child
        )
        self.subnets = {tier: {zone: self._subnet(tier, zone) for zone in args.zones} for tier in Tier}
        self._routes = self._route()
        self._access_lists(vpc)
        self.gateways = {service: self._gateway(service) for service in GATEWAY_SERVICES}
        self.s3_prefix_list_id = self.gateways["s3"].prefix_list_id
        self._flow_logs()
        self.register_outputs({"vpc_id": self.vpc_id})

    def subnet_ids(self, tier: Tier) -> list[pulumi.Output[str]]:
        return [subnet.id for subnet in self.subnets[tier].values()]

    def open_endpoints(self, security_group_id: pulumi.Input[str]) -> list[pulumi.Resource]:
        """The interface endpoints, behind the group that says who may use them."""
        subnets = list(self.subnets[Tier.ISOLATED].values())
        if self._args.config.endpoint_zones == "one":
            subnets = subnets[:1]
        return [
            aws.ec2.VpcEndpoint(
                f"{self._name}-{service}",
                vpc_id=self.vpc_id,
                service_name=f"com.amazonaws.{self._args.site.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in subnets],
                security_group_ids=[security_group_id],
                policy=document(only_from_account(self._args.site)),
                tags={"Name": f"{self._args.site.prefix}-{service}"},
                opts=self._child,
            )
            for service in INTERFACE_SERVICES
        ]

    def _subnet(self, tier: Tier, zone: str) -> aws.ec2.Subnet:
        return aws.ec2.Subnet(
            f"{self._name}-{tier.value}-{zone}",
            vpc_id=self.vpc_id,
            availability_zone=zone,
            cidr_block=subnet_cidr(self.cidr, tier, zone),
            map_public_ip_on_launch=False,
            tags={"Name": f"{self._args.site.prefix}-{tier.value}-{zone[-1]}", "hybrid:tier": tier.value},
            opts=self._child,
        )

    def _route(self) -> dict[Tier, list[aws.ec2.RouteTable]]:
        """A table a zone for the private tier, where NAT may differ by zone; one for each other tier."""
        zones = list(self._args.zones)
        public, isolated = (self._table(tier.value, tier, zones) for tier in (Tier.PUBLIC, Tier.ISOLATED))
        private = {zone: self._table(f"private-{zone}", Tier.PRIVATE, [zone]) for zone in zones}
        gateway = aws.ec2.InternetGateway(
            self._name, vpc_id=self.vpc_id, tags={"Name": self._args.site.prefix}, opts=self._child
        )
        self._default_route("public", public, gateway_id=gateway.id)
        nat_zones = {Nat.NONE: [], Nat.ONE: zones[:1], Nat.PER_ZONE: zones}[self._args.config.nat]
        nats = {zone: self._nat(zone, gateway) for zone in nat_zones}
        for zone, table in private.items() if nats else ():
            nat = nats.get(zone) or nats[zones[0]]
            self._default_route(f"private-{zone}", table, nat_gateway_id=nat.id)
        return {Tier.PUBLIC: [public], Tier.PRIVATE: list(private.values()), Tier.ISOLATED: [isolated]}

    def _access_lists(self, vpc: aws.ec2.Vpc) -> None:
        """A second wall, that no mistake in a security group opens: each tier speaks within the VPC and with what it
        has to outside. The VPC's own list lets everything through; adopting it without entries closes it."""
        lists = [
            aws.ec2.NetworkAcl(
                f"{self._name}-{tier.value}",
                vpc_id=self.vpc_id,
                subnet_ids=self.subnet_ids(tier),
                ingress=[aws.ec2.NetworkAclIngressArgs(**entry) for entry in inward],
                egress=[aws.ec2.NetworkAclEgressArgs(**entry) for entry in outward],
                tags={"Name": f"{self._args.site.prefix}-{tier.value}", "hybrid:tier": tier.value},
                opts=self._child,
            )
            for tier, (inward, outward) in access_lists(self.cidr).items()
        ]
        aws.ec2.DefaultNetworkAcl(
            f"{self._name}-default",
            default_network_acl_id=vpc.default_network_acl_id,
            tags={"Name": f"{self._args.site.prefix}-unused"},
            # Only then no subnet is left in it.
            opts=pulumi.ResourceOptions(parent=self, depends_on=lists),
        )

    def _table(self, label: str, tier: Tier, zones: Sequence[str]) -> aws.ec2.RouteTable:
        table = aws.ec2.RouteTable(
            f"{self._name}-{label}",
            vpc_id=self.vpc_id,
            tags={"Name": f"{self._args.site.prefix}-{label}", "hybrid:tier": tier.value},
            opts=self._child,
        )
        for zone in zones:
            aws.ec2.RouteTableAssociation(
                f"{self._name}-{tier.value}-{zone}",
                route_table_id=table.id,
                subnet_id=self.subnets[tier][zone].id,
                opts=self._child,
            )
        return table

    def _default_route(self, label: str, table: aws.ec2.RouteTable, **via: pulumi.Input[str]) -> None:
        aws.ec2.Route(
            f"{self._name}-{label}-default",
            route_table_id=table.id,
            destination_cidr_block=ANYWHERE,
            opts=self._child,
            **via,
        )

    def _nat(self, zone: str, gateway: aws.ec2.InternetGateway) -> aws.ec2.NatGateway:
        tags = {"Name": f"{self._args.site.prefix}-nat-{zone[-1]}"}
        behind_gateway = pulumi.ResourceOptions(parent=self, depends_on=[gateway])
        address = aws.ec2.Eip(f"{self._name}-nat-{zone}", domain="vpc", tags=tags, opts=behind_gateway)
        return aws.ec2.NatGateway(
            f"{self._name}-nat-{zone}",
            allocation_id=address.id,
            subnet_id=self.subnets[Tier.PUBLIC][zone].id,
            tags=tags,
            opts=behind_gateway,
        )

    def _gateway(self, service: str) -> aws.ec2.VpcEndpoint:
        site = self._args.site
        policy = document(*reachable_buckets(site, self._args.own_buckets)) if service == "s3" else None
        return aws.ec2.VpcEndpoint(
            f"{self._name}-{service}",
            vpc_id=self.vpc_id,
            service_name=f"com.amazonaws.{site.region}.{service}",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for tier in (Tier.PRIVATE, Tier.ISOLATED) for table in self._routes[tier]],
            policy=policy or document(only_from_account(site)),
            tags={"Name": f"{site.prefix}-{service}"},
            opts=self._child,
        )

    def _flow_logs(self) -> None:
        site = self._args.site
        group = aws.cloudwatch.LogGroup(
            f"{self._name}-flows",
            name=f"{site.path}/flows",
            retention_in_days=self._args.config.flow_log_days,
            kms_key_id=self._args.log_key_arn,
            opts=self._child,
        )
        role = service_role(
            f"{self._name}-flows",
            trust("vpc-flow-logs.amazonaws.com", site.account),
            [
                allow(
                    ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                    [group.arn, pulumi.Output.concat(group.arn, ":*")],
                ),
                allow(["logs:DescribeLogGroups"], "*"),  # without it they are not delivered
            ],
            opts=self._child,
        )
        aws.ec2.FlowLog(
            f"{self._name}-flows",
            vpc_id=self.vpc_id,
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            max_aggregation_interval=60,
            tags={"Name": site.prefix},
            opts=self._child,
        )


HTTPS, EPHEMERAL = (443, 443), (1024, 65535)
LINUX_EPHEMERAL = (32768, 65535)


def access_lists(vpc: str) -> dict[Tier, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """What may come in and go out by tier. Lists have no memory: answers come in on the port that was asked from."""
    within = ("allow", "-1", (0, 0), vpc)
    remote_desktop = ("deny", "tcp", (3389, 3389), ANYWHERE)  # lies in the range of clients' ports
    answers = ("allow", "tcp", LINUX_EPHEMERAL, ANYWHERE)
    https = ("allow", "tcp", HTTPS, ANYWHERE)  # in: clients; out: S3 through its gateway, the internet through NAT
    behind = _entries(within, answers), _entries(within, https)
    return {
        Tier.PUBLIC: (
            _entries(within, remote_desktop, https, ("allow", "tcp", EPHEMERAL, ANYWHERE)),
            _entries(within, https, ("allow", "tcp", EPHEMERAL, ANYWHERE)),
        ),
        Tier.PRIVATE: behind,
        Tier.ISOLATED: behind,
    }


def _entries(*wanted: tuple[str, str, tuple[int, int], str]) -> list[dict[str, Any]]:
    return [
        {"rule_no": 100 * number, "action": action, "protocol": protocol, "from_port": first, "to_port": last}
        | {"cidr_block": cidr}
        for number, (action, protocol, (first, last), cidr) in enumerate(wanted, start=1)
    ]


def only_from_account(site: Site) -> dict[str, object]:
    """An endpoint carries this account's identities and nobody else's: stolen foreign keys are no way out."""
    return grant("*", ["*"], conditions={"StringEquals": {"aws:PrincipalAccount": site.account}})


def reachable_buckets(site: Site, own: Sequence[pulumi.Input[str]]) -> list[dict[str, object]]:
    """Through the S3 gateway one reaches our buckets, and those in which AWS keeps what its agents and images need.

    Only reading is for everybody: apt brings no identity, and neither do AWS's agents.
    """
    ours = [part for arn in own for part in (arn, pulumi.Output.concat(arn, "/*"))]
    theirs = [
        f"prod-{site.region}-starport-layer-bucket",  # layers of ECR images
        f"amazon-ssm-{site.region}",  # the SSM agent
        f"aws-ssm-{site.region}",  # documents of SSM
        f"patch-baseline-snapshot-{site.region}",  # what SSM measures compliance against
        f"aws-patch-manager-{site.region}-*",  # and with; its name ends differently in every region
        f"ec2imagebuilder-managed-resources-{site.region}-prod",
        f"ec2imagebuilder-toe-{site.region}-prod",
        f"al2023-repos-{site.region}-de612dc2",  # packages of the nodes' Amazon Linux
    ]
    return [
        grant("*", ["s3:GetObject"], ours),
        grant(
            "*",
            ["s3:ListBucket", "s3:PutObject"],
            ours,
            conditions={"StringEquals": {"aws:PrincipalAccount": site.account}},
        ),
        grant("*", ["s3:GetObject"], [site.arn("s3", f"{name}/*", region="", account="") for name in theirs]),
    ]
