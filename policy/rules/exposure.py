"""Nothing is reachable that need not be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from policy.resources import UNKNOWN, Deployment, Resource, Violation, rule, violation

HTTPS = 443
TLS_POLICIES = ("ELBSecurityPolicy-TLS13-1-2-", "ELBSecurityPolicy-TLS13-1-3-")  # there are some with 1.0 and 1.1
ADMINISTRATION = (22, 3389)
ALL_PROTOCOLS, TCP = ("-1", "all"), ("tcp", "6")


def is_world(cidr: Any) -> bool:
    """Whether a range is (nearly) everybody."""
    return bool(cidr) and cidr != UNKNOWN and ip_network(cidr, strict=False).prefixlen < 8


@rule
def nothing_is_open_to_the_world(deployment: Deployment) -> Iterator[Violation]:
    """The whole internet comes in at one place: port 443 of the load balancer. Nothing goes out to it, or where there
    is NAT on the same port. A prefix list, whose ranges nobody sees here, is that of an endpoint on the way out."""
    groups = {group.urn for group in deployment.of("ec2/securityGroup")}
    balancers = [b for b in deployment.of("lb/loadBalancer") if not b.props.get("internal")]
    front = {group for balancer in balancers for group in balancer.depends_on & groups}
    endpoints = {endpoint.urn for endpoint in deployment.of("ec2/vpcEndpoint")}
    for rule_ in deployment.of("vpc/securityGroupIngressRule"):
        if rule_.props.get("prefixListId"):
            yield violation(rule_, "lets in a prefix list, which may be the world")
        if is_world(rule_.props.get("cidrIpv4")) or is_world(rule_.props.get("cidrIpv6")):
            at_the_front = bool(rule_.depends_on & front)
            if not (at_the_front and (rule_.props.get("fromPort"), rule_.props.get("toPort")) == (HTTPS, HTTPS)):
                yield violation(rule_, f"lets the world in to port {rule_.props.get('fromPort')}")
    ports_out = {HTTPS} if deployment.of("ec2/natGateway") else set()
    for rule_ in deployment.of("vpc/securityGroupEgressRule"):
        ports = {rule_.props.get("fromPort"), rule_.props.get("toPort")}
        to_the_world = is_world(rule_.props.get("cidrIpv4")) or is_world(rule_.props.get("cidrIpv6"))
        if to_the_world and not ports <= ports_out:
            yield violation(rule_, "lets everything out")
        if rule_.props.get("prefixListId") and not rule_.depends_on & endpoints:
            yield violation(rule_, "lets out to a prefix list that is no endpoint's")


@rule
def rules_are_resources_of_their_own(deployment: Deployment) -> Iterator[Violation]:
    """Rules written inside a group fight with those beside it, and the default group is empty."""
    for group in deployment.of("ec2/securityGroup", "ec2/defaultSecurityGroup"):
        if group.props.get("ingress") or group.props.get("egress"):
            yield violation(group, "has rules of its own; make them resources")
    if deployment.of("ec2/vpc") and not deployment.of("ec2/defaultSecurityGroup"):
        yield Violation("the VPC's default security group keeps its rules; adopt it without any")


@rule
def no_machine_has_a_public_address(deployment: Deployment) -> Iterator[Violation]:
    """Machines live in private ranges, whatever a subnet or a template is told."""
    for subnet in deployment.of("ec2/subnet"):
        if subnet.props.get("mapPublicIpOnLaunch"):
            yield violation(subnet, "gives out public addresses")
    for template in deployment.of("ec2/launchTemplate", "ec2/instance"):
        for interface in (template.props, *(template.props.get("networkInterfaces") or ())):
            if str(interface.get("associatePublicIpAddress")).lower() == "true":
                yield violation(template, "launches with a public address")
    for address in deployment.of("ec2/eip"):
        if address.props.get("instance") or address.props.get("networkInterface"):
            yield violation(address, "gives a machine a public address")


@rule
def nobody_logs_in_by_network(deployment: Deployment) -> Iterator[Violation]:
    """Session Manager is the way in: no SSH or RDP rule, no key pair, neither on machines nor on nodes or builds."""
    for rule_ in deployment.of("vpc/securityGroupIngressRule"):
        first, last = rule_.props.get("fromPort"), rule_.props.get("toPort")
        everything = rule_.props.get("ipProtocol") in ALL_PROTOCOLS
        if everything or _holds(first, last, *ADMINISTRATION):
            yield violation(rule_, "opens a port of administration")
    for template in deployment.of("ec2/launchTemplate", "ec2/instance"):
        if template.props.get("keyName"):
            yield violation(template, "has an SSH key pair")
    for group in deployment.of("eks/nodeGroup"):
        if group.props.get("remoteAccess"):
            yield violation(group, "lets somebody in to its nodes by SSH")
    for builder in deployment.of("imagebuilder/infrastructureConfiguration"):
        if builder.props.get("keyPair"):
            yield violation(builder, "has an SSH key pair")


def _holds(first: Any, last: Any, *ports: int) -> bool:
    """Whether a range holds one of these ports; one that is not known yet is looked at again after `up`."""
    known = isinstance(first, int | float) and isinstance(last, int | float)
    return known and any(first <= port <= last for port in ports)


@rule
def access_lists_stand_behind_the_groups(deployment: Deployment) -> Iterator[Violation]:
    """Every subnet has a network ACL of ours, and none takes SSH or RDP from the internet: what a mistake in a security
    group would open stays shut. The VPC's own list, which lets everything through, is emptied."""
    lists = deployment.of("ec2/networkAcl")
    for subnet in deployment.of("ec2/subnet"):
        if not any(subnet.urn in acl.depends_on for acl in lists):
            yield violation(subnet, "has the VPC's own network ACL")
    if deployment.of("ec2/vpc") and not deployment.of("ec2/defaultNetworkAcl"):
        yield Violation("the VPC's default network ACL lets everything through; adopt it without entries")
    for acl in (*lists, *deployment.of("ec2/defaultNetworkAcl")):
        for port in ADMINISTRATION:
            if _admits_the_world(acl.props.get("ingress") or (), port):
                yield violation(acl, f"lets the world in to port {port}")


def _admits_the_world(entries: Iterable[Any], port: int) -> bool:
    """As the network decides, for each version of its protocol: the first entry that fits."""
    for family in ("cidrBlock", "ipv6CidrBlock"):
        for entry in sorted(entries, key=lambda entry: entry.get("ruleNo") or 0):
            protocol = str(entry.get("protocol"))
            fits = protocol in ALL_PROTOCOLS or (
                protocol in TCP and _holds(entry.get("fromPort"), entry.get("toPort"), port)
            )
            if is_world(entry.get(family)) and fits:
                if entry.get("action") == "allow":
                    return True
                break
    return False


@rule
def the_api_server_is_private(deployment: Deployment) -> Iterator[Violation]:
    """The Kubernetes API answers inside the VPC; outside, if at all, to named ranges."""
    for cluster in deployment.of("eks/cluster"):
        network = cluster.props.get("vpcConfig") or {}
        ranges = network.get("publicAccessCidrs") or []
        if not network.get("endpointPrivateAccess"):
            yield violation(cluster, "has no private endpoint")
        if network.get("endpointPublicAccess") is not False and (not ranges or any(map(is_world, ranges))):
            yield violation(cluster, "has a public endpoint that is open to the world")


@rule
def what_clients_send_is_encrypted(deployment: Deployment) -> Iterator[Violation]:
    """A load balancer that faces the internet speaks TLS 1.2 or newer, and nothing else."""
    outside = {b.urn: b for b in deployment.of("lb/loadBalancer") if not b.props.get("internal")}
    for listener in deployment.of("lb/listener"):
        if outside.keys() & listener.depends_on:
            policy = str(listener.props.get("sslPolicy"))
            if listener.props.get("protocol") != "HTTPS" or not policy.startswith(TLS_POLICIES):
                yield violation(listener, "faces the internet without TLS of today")


@rule
def the_vm_tier_has_no_way_out(deployment: Deployment) -> Iterator[Violation]:
    """Subnets in which members stand have no route to the internet, not even through NAT. What hangs on what is told by
    dependencies, since a first preview knows no ids."""
    subnets, all_tables = ({r.urn for r in deployment.of(kind)} for kind in ("ec2/subnet", "ec2/routeTable"))
    with_members = {urn for i in deployment.of("ec2/networkInterface") for urn in i.depends_on & subnets}
    tables = {
        table
        for association in deployment.of("ec2/routeTableAssociation")
        if association.depends_on & with_members
        for table in association.depends_on & all_tables
    }
    for route in deployment.of("ec2/route"):
        if route.depends_on & tables and _leads_out(route.props):
            yield violation(route, "leads from the VM tier to the internet")
    for table in deployment.of("ec2/routeTable"):
        if table.urn in tables and any(map(_leads_out, table.props.get("routes") or ())):
            yield violation(table, "leads from the VM tier to the internet")


def _leads_out(route: Mapping[str, Any]) -> bool:
    ranges = ("destinationCidrBlock", "destinationIpv6CidrBlock", "cidrBlock", "ipv6CidrBlock")
    gateways = ("gatewayId", "natGatewayId", "egressOnlyGatewayId")
    return any(route.get(gateway) for gateway in gateways) or any(is_world(route.get(cidr)) for cidr in ranges)


@rule
def no_security_group_talks_to_everything(deployment: Deployment) -> Iterator[Violation]:
    """A rule names one port of one protocol: a range is a hole with a name."""
    for rule_ in _rules(deployment):
        first, last = rule_.props.get("fromPort"), rule_.props.get("toPort")
        if rule_.props.get("ipProtocol") in ALL_PROTOCOLS or first is None or first != last:
            yield violation(rule_, "opens more than one port")


def _rules(deployment: Deployment) -> list[Resource]:
    return deployment.of("vpc/securityGroupIngressRule", "vpc/securityGroupEgressRule")
