"""Nothing is reachable that need not be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_network
from typing import Any

from policy.resources import UNKNOWN, Deployment, Resource, Violation, rule, violation

HTTPS = 443
TLS_POLICIES = ("ELBSecurityPolicy-TLS13-",)
ADMINISTRATION = (22, 3389)


def is_world(cidr: Any) -> bool:
    """Whether a range is (nearly) everybody."""
    return bool(cidr) and cidr != UNKNOWN and ip_network(cidr, strict=False).prefixlen < 8


@rule
def nothing_is_open_to_the_world(deployment: Deployment) -> Iterator[Violation]:
    """The whole internet comes in at one place: port 443 of the load balancer. Nothing goes out to it, or where there
    is NAT on the same port."""
    front = {
        group
        for balancer in deployment.of("lb/loadBalancer")
        if not balancer.props.get("internal")
        for group in balancer.props.get("securityGroups") or ()
    }
    for rule_ in deployment.of("vpc/securityGroupIngressRule"):
        if is_world(rule_.props.get("cidrIpv4")) or is_world(rule_.props.get("cidrIpv6")):
            at_the_front = rule_.props["securityGroupId"] in front
            if not (at_the_front and (rule_.props.get("fromPort"), rule_.props.get("toPort")) == (HTTPS, HTTPS)):
                yield violation(rule_, f"lets the world in to port {rule_.props.get('fromPort')}")
    ports_out = {HTTPS} if deployment.of("ec2/natGateway") else set()
    for rule_ in deployment.of("vpc/securityGroupEgressRule"):
        ports = {rule_.props.get("fromPort"), rule_.props.get("toPort")}
        to_the_world = is_world(rule_.props.get("cidrIpv4")) or is_world(rule_.props.get("cidrIpv6"))
        if to_the_world and not ports <= ports_out:
            yield violation(rule_, "lets everything out")


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
    for template in deployment.of("ec2/launchTemplate"):
        for interface in template.props.get("networkInterfaces") or ():
            if str(interface.get("associatePublicIpAddress")).lower() == "true":
                yield violation(template, "launches with a public address")
    for address in deployment.of("ec2/eip"):
        if address.props.get("instance") or address.props.get("networkInterface"):
            yield violation(address, "gives a machine a public address")


@rule
def nobody_logs_in_by_network(deployment: Deployment) -> Iterator[Violation]:
    """Session Manager is the way in: no SSH or RDP rule, no key pair."""
    for rule_ in deployment.of("vpc/securityGroupIngressRule"):
        first, last = rule_.props.get("fromPort"), rule_.props.get("toPort")
        everything = rule_.props.get("ipProtocol") == "-1"
        if everything or any(first is not None and first <= port <= (last or first) for port in ADMINISTRATION):
            yield violation(rule_, "opens a port of administration")
    for template in deployment.of("ec2/launchTemplate", "ec2/instance"):
        if template.props.get("keyName"):
            yield violation(template, "has an SSH key pair")


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
    """As the network decides: the first entry that fits."""
    for entry in sorted(entries, key=lambda entry: entry.get("ruleNo") or 0):
        all_ports = str(entry.get("protocol")) == "-1"
        if is_world(entry.get("cidrBlock")) and (all_ports or entry["fromPort"] <= port <= entry["toPort"]):
            return bool(entry.get("action") == "allow")
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
    """Subnets in which members stand have no route to the internet, not even through NAT."""
    with_members = {i.props.get("subnetId") for i in deployment.of("ec2/networkInterface")}
    tables = {
        association.props.get("routeTableId")
        for association in deployment.of("ec2/routeTableAssociation")
        if association.props.get("subnetId") in with_members - {UNKNOWN}
    }
    for route in deployment.of("ec2/route"):
        leads_out = is_world(route.props.get("destinationCidrBlock"))
        if leads_out and route.props.get("routeTableId") in tables - {UNKNOWN}:
            yield violation(route, "leads from the VM tier to the internet")


@rule
def no_security_group_talks_to_everything(deployment: Deployment) -> Iterator[Violation]:
    """A rule names one port of one protocol: a range is a hole with a name."""
    for rule_ in _rules(deployment):
        if rule_.props.get("ipProtocol") == "-1" or rule_.props.get("fromPort") != rule_.props.get("toPort"):
            yield violation(rule_, "opens more than one port")


def _rules(deployment: Deployment) -> list[Resource]:
    return deployment.of("vpc/securityGroupIngressRule", "vpc/securityGroupEgressRule")
