"""Every security group and every rule: one place to read who may talk to whom.

There are the flows of platform.yaml, and a fixed list of what the platform itself needs. A connection that is in
neither does not exist, in either direction: groups have no open egress.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.targets.aws.config import ANYWHERE
from infra.targets.aws.public import node_port, public_workloads
from infra.targets.aws.site import Site

HTTPS = 443
CLIENTS, S3, INTERNET = "clients", "s3", "internet"
RANGES = (CLIENTS, S3, INTERNET)  # peers that are address ranges, not groups
ENDPOINTS, CONTROL_PLANE, BALANCER, BUILDER, OPERATOR = "endpoints", "control-plane", "balancer", "builder", "operator"
# The second group of all that calls the APIs of AWS. Its two rules are theirs, however many there are.
AWS_CLIENTS = "aws-clients"
RULES_OF_A_GROUP = 60  # a direction; a quota that can be raised


@dataclass(frozen=True)
class Connection:
    """One permitted connection between two groups, or between a group and an address range."""

    source: str
    destination: str
    port: int
    why: str
    protocol: str = "tcp"

    @property
    def label(self) -> str:
        suffix = "" if self.protocol == "tcp" else f"-{self.protocol}"
        return f"{self.source}-to-{self.destination}-{self.port}{suffix}"


def group_of(plan: Plan, workload: str) -> str:
    """The security group in which a workload's packets are born."""
    runtime = plan.placement(workload).runtime
    return machine_group(workload) if runtime is Runtime.VM else pool_group(runtime)


def machine_group(workload: str) -> str:
    return f"vm-{workload}"


def pool_group(runtime: Runtime) -> str:
    """Sandboxed workloads have nodes, and a group, of their own: what one of them breaks out to is still outside."""
    return f"pool-{runtime.value}"


def pools(plan: Plan) -> list[Runtime]:
    """Runtimes with nodes; the container pool always, because the cluster's own services run there."""
    return [Runtime.CONTAINER, *([Runtime.MICROVM] if plan.on(Runtime.MICROVM) else [])]


def connections(plan: Plan, client_port: int, nat: bool) -> list[Connection]:
    """All of them, each once: where both ask for the same one, platform.yaml's reason stands."""
    unique = {c.label: c for c in (*_of_platform(plan, client_port, nat), *_of_spec(plan))}
    return list(unique.values())


def _of_spec(plan: Plan) -> Iterator[Connection]:
    for flow in plan.flows():
        source, destination = group_of(plan, flow.source), group_of(plan, flow.destination)
        yield Connection(source, destination, flow.port, f"{flow.source} talks to {flow.destination}")


def _of_platform(plan: Plan, client_port: int, nat: bool) -> Iterator[Connection]:
    nodes = [pool_group(runtime) for runtime in pools(plan)]
    yield Connection(AWS_CLIENTS, ENDPOINTS, HTTPS, "the APIs of AWS")
    yield Connection(AWS_CLIENTS, S3, HTTPS, "packages, bundles and image layers")
    if nat:  # which pods may use it is said by the cluster's network policies; sandboxed nodes never
        yield Connection(pool_group(Runtime.CONTAINER), INTERNET, HTTPS, "the internet, through NAT")
    for group in (*nodes, OPERATOR):
        yield Connection(group, CONTROL_PLANE, HTTPS, "the Kubernetes API")
    for group in nodes:
        yield Connection(CONTROL_PLANE, group, 10250, "the API server reaches kubelets")
        # CoreDNS runs in the container pool; the resolver of the VPC needs no rule.
        for protocol in ("tcp", "udp"):
            yield Connection(group, pool_group(Runtime.CONTAINER), 53, "cluster DNS", protocol)
        yield Connection(pool_group(Runtime.CONTAINER), group, 10250, "the metrics server reaches kubelets")
    yield Connection(CONTROL_PLANE, pool_group(Runtime.CONTAINER), 10251, "the API server reaches the metrics server")
    for name in public_workloads(plan):
        yield Connection(CLIENTS, BALANCER, client_port, "clients")
        on_machine = plan.placement(name).runtime is Runtime.VM
        port = plan.spec.workloads[name].ports[0] if on_machine else node_port(name)
        group = group_of(plan, name)
        yield Connection(BALANCER, group, port, f"clients of {name}")
        if not on_machine:
            # A node hands what comes in on its node port to a pod on any of its neighbours.
            yield Connection(group, group, plan.spec.workloads[name].ports[0], f"node port of {name}")


def crowded(wanted: Sequence[Connection], client_ranges: int) -> dict[str, int]:
    """Groups with more rules in one direction than AWS takes by default, and how many."""
    outward = Counter(c.source for c in wanted)
    inward: Counter[str] = Counter()
    for connection in wanted:
        inward[connection.destination] += client_ranges if connection.source == CLIENTS else 1
    most = {end: max(outward[end], inward[end]) for end in (*outward, *inward) if end not in RANGES}
    return {end: rules for end, rules in most.items() if rules > RULES_OF_A_GROUP}


@dataclass(frozen=True)
class FirewallArgs:
    site: Site
    plan: Plan
    vpc_id: pulumi.Input[str]
    s3_prefix_list_id: pulumi.Input[str]
    client_cidrs: Sequence[str]
    client_port: int
    nat: bool


class Firewall(pulumi.ComponentResource):
    """The groups, each empty but for the rules of `connections`.

    Attributes:
        groups: by name (`vm-ledger`, `pool-container`, `balancer`, …).
    """

    groups: dict[str, aws.ec2.SecurityGroup]

    def __init__(self, name: str, args: FirewallArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Firewall", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        wanted = connections(args.plan, args.client_port, args.nat)
        for end, rules in crowded(wanted, len(args.client_cidrs)).items():
            pulumi.log.warn(
                f"security group {end} needs {rules} rules in one direction; AWS takes {RULES_OF_A_GROUP} unless the "
                "quota of the account is raised",
                self,
            )
        # What runs somewhere has a group of its own, also where nothing but AWS is allowed to it.
        own = [*map(machine_group, args.plan.on(Runtime.VM)), *map(pool_group, pools(args.plan)), BUILDER, OPERATOR]
        names = dict.fromkeys([*own, *(end for c in wanted for end in (c.source, c.destination) if end not in RANGES)])
        self.groups = {group: self._group(group) for group in names}
        for connection in wanted:
            self._permit(connection)
        self.register_outputs({})

    def group_id(self, group: str) -> pulumi.Output[str]:
        return self.groups[group].id

    def group_ids(self, group: str) -> list[pulumi.Output[str]]:
        """What the interfaces of something that calls the APIs of AWS get: its own group, and that of all such."""
        return [self.group_id(group), self.group_id(AWS_CLIENTS)]

    def _group(self, group: str) -> aws.ec2.SecurityGroup:
        workload = group.removeprefix("vm-") if group.startswith("vm-") else None
        tags = {"Name": f"{self._args.site.prefix}-{group}", "hybrid:group": group}
        return aws.ec2.SecurityGroup(
            f"{self._name}-{group}",
            vpc_id=self._args.vpc_id,
            description=f"{self._args.site.prefix}: {group}",
            tags={**tags, "hybrid:workload": workload, "hybrid:runtime": Runtime.VM.value} if workload else tags,
            opts=self._child,
        )

    def _permit(self, connection: Connection) -> None:
        """Both halves of a connection: out of the source and into the destination."""
        what = {
            "ip_protocol": connection.protocol,
            "from_port": connection.port,
            "to_port": connection.port,
            "description": connection.why,
        }
        label = f"{self._name}-{connection.label}"
        if connection.source == CLIENTS:
            for cidr in self._args.client_cidrs:
                aws.vpc.SecurityGroupIngressRule(
                    f"{label}-{cidr}",
                    security_group_id=self.group_id(connection.destination),
                    cidr_ipv4=cidr,
                    opts=self._child,
                    **what,
                )
            return
        source = self.group_id(connection.source)
        if connection.destination in RANGES:
            leads_to = (
                {"prefix_list_id": self._args.s3_prefix_list_id}
                if connection.destination == S3
                else {"cidr_ipv4": ANYWHERE}
            )
            aws.vpc.SecurityGroupEgressRule(label, security_group_id=source, opts=self._child, **leads_to, **what)
            return
        destination = self.group_id(connection.destination)
        aws.vpc.SecurityGroupEgressRule(
            label, security_group_id=source, referenced_security_group_id=destination, opts=self._child, **what
        )
        aws.vpc.SecurityGroupIngressRule(
            label, security_group_id=destination, referenced_security_group_id=source, opts=self._child, **what
        )
