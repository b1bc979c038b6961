"""The network: tiers, ways out, ways in, and exactly the connections that platform.yaml asks for."""

import json

from recording import deploy, stack_config

from benchmarks import preview
from infra.placement import Runtime, place
from infra.spec import load_spec
from infra.targets.aws.firewall import Connection, connections, crowded
from infra.targets.aws.network import INTERFACE_SERVICES
from infra.targets.aws.packages import SSM_AGENT

INTERNET = "0.0.0.0/0"
# What issue and design ask for, whatever the code lists.
NEEDED_ENDPOINTS = {"ssm", "ssmmessages", "ecr.api", "ecr.dkr", "sts", "kms", "logs"}


def routes_to_internet(deployed) -> set[str]:
    """Names of the route tables that have a default route."""
    tables = {f"routeTable:{t.name}": t for t in deployed.of("ec2/routeTable")}
    assert tables
    default = [r.props["routeTableId"] for r in deployed.of("ec2/route") if r.props["destinationCidrBlock"] == INTERNET]
    return {name.removeprefix("RouteTable-") for name in default}


def test_the_vm_tier_has_no_route_to_the_internet(deployed):
    assert routes_to_internet(deployed) == {"network-public"}  # nat: none in both stacks
    isolated = [s.name for s in deployed.of("ec2/subnet") if s.tags["hybrid:tier"] == "isolated"]
    tables = {a.props["subnetId"]: a.props["routeTableId"] for a in deployed.of("ec2/routeTableAssociation")}
    assert isolated and {tables[f"Subnet-{name}"] for name in isolated} == {"RouteTable-network-isolated"}
    for interface in deployed.of("ec2/networkInterface"):
        assert "isolated" in interface.props["subnetId"]


def test_three_tiers_in_every_zone_each_with_a_table(deployed):
    zones = {s.props["availabilityZone"] for s in deployed.of("ec2/subnet")}
    found = {(s.tags["hybrid:tier"], s.props["availabilityZone"]) for s in deployed.of("ec2/subnet")}
    assert found == {(tier, zone) for tier in ("public", "private", "isolated") for zone in zones}
    assert len(zones) >= 2
    associated = {a.props["subnetId"] for a in deployed.of("ec2/routeTableAssociation")}
    assert associated == {f"Subnet-{s.name}" for s in deployed.of("ec2/subnet")}
    assert not any(s.props["mapPublicIpOnLaunch"] for s in deployed.of("ec2/subnet"))


def test_endpoints_answer_for_what_the_isolated_tier_needs(deployed):
    interfaces = [e for e in deployed.of("ec2/vpcEndpoint") if e.props["vpcEndpointType"] == "Interface"]
    services = {e.props["serviceName"].split(".", 3)[3] for e in interfaces}
    assert services >= NEEDED_ENDPOINTS
    assert services == set(INTERFACE_SERVICES)
    for endpoint in interfaces:
        assert endpoint.props["privateDnsEnabled"]
        assert endpoint.props["securityGroupIds"] == ["SecurityGroup-firewall-endpoints"]


def test_endpoints_stand_in_as_many_zones_as_were_asked_for(deployed, stack):
    config = stack_config(stack)["hybrid-platform:aws"]
    asked = config["zones"] if config["network"]["endpoint_zones"] == "all" else config["zones"][:1]
    for endpoint in deployed.of("ec2/vpcEndpoint"):
        if endpoint.props["vpcEndpointType"] == "Interface":
            assert endpoint.props["subnetIds"] == [f"Subnet-network-isolated-{zone}" for zone in asked]


def test_the_pinned_agent_needs_no_older_channel():
    """From 3.3.40 on Run Command comes by ssmmessages, so that ec2messages has neither endpoint nor permissions."""
    assert tuple(map(int, SSM_AGENT.split("."))) >= (3, 3, 40)


def test_a_group_with_more_rules_than_aws_takes_is_told(tmp_path):
    """A database with too many callers on machines fails in the middle of `pulumi up`, unless somebody asks before."""
    for workloads, told in ((60, set()), (200, {"pool-container"})):
        spec = preview.spec(workloads)
        file = tmp_path / "platform.yaml"
        file.write_text(json.dumps(spec))
        wanted = connections(place(load_spec(file)), 443, nat=False)
        found = crowded(wanted, client_ranges=1)
        assert set(found) == told
        for group, rules in found.items():
            assert rules == max(sum(getattr(c, end) == group for c in wanted) for end in ("source", "destination")) > 60
    assert crowded([], 0) == {}
    clients = [Connection("clients", "balancer", 443, "clients")]
    assert crowded(clients, 60) == {} and crowded(clients, 61) == {"balancer": 61}


def group_names(identifiers) -> list[str]:
    return [identifier.removeprefix("SecurityGroup-firewall-") for identifier in identifiers]


def test_what_calls_aws_has_a_group_of_its_own_and_the_one_that_all_such_have(deployed, plan):
    """A rule a caller in the endpoints' group would outgrow it; AWS takes 5 groups an interface."""
    found = {i.name: i.props["securityGroups"] for i in deployed.of("ec2/networkInterface")}
    nodes = [t for t in deployed.of("ec2/launchTemplate") if t.tags["hybrid:workload"] == "cluster"]
    found |= {template.name: template.props["vpcSecurityGroupIds"] for template in nodes}
    found |= {c.name: c.props["securityGroupIds"] for c in deployed.of("imagebuilder/infrastructureConfiguration")}
    inside = [p for p in deployed.of("codebuild/project") if p.props.get("vpcConfig")]
    found |= {project.name: project.props["vpcConfig"]["securityGroupIds"] for project in inside}
    assert len(found) == sum(w.replicas for w in plan.on(Runtime.VM).values()) + len(nodes) + 2 and nodes and inside
    own = {}
    for name, groups in found.items():
        own[name], common = group_names(groups)
        assert common == "aws-clients" and own[name] not in ("aws-clients", "endpoints"), name
    for workload, spec in plan.on(Runtime.VM).items():
        assert {own[f"vm-{workload}-{ordinal}"] for ordinal in range(spec.replicas)} == {f"vm-{workload}"}


def test_the_common_group_leads_to_aws_and_nowhere_else(deployed):
    outward = {
        (peer.split("-")[0], port, p) for own, peer, port, p in rules(deployed, "Egress") if own == "aws-clients"
    }
    assert outward == {("endpoints", 443, "tcp"), ("pl", 443, "tcp")}
    inward = rules(deployed, "Ingress")
    assert {rule[1:] for rule in inward if rule[0] == "endpoints"} == {("aws-clients", 443, "tcp")}
    assert [rule for rule in inward if "aws-clients" in rule[:2]] == [("endpoints", "aws-clients", 443, "tcp")]


def test_a_machine_that_talks_to_nobody_has_its_group_all_the_same(tmp_path):
    spec = preview.spec(12)
    for workload in spec["workloads"].values():
        workload.pop("talks_to", None)
    file = tmp_path / "platform.yaml"
    file.write_text(json.dumps(spec))
    deployed = deploy("aws-dev", preview.without_canaries, file).deployment
    machines = deployed.plan.on(Runtime.VM)
    groups = {group.name for group in deployed.of("ec2/securityGroup")}
    assert machines and {f"firewall-vm-{name}" for name in machines} <= groups


def test_endpoints_carry_no_foreign_identity(deployed):
    for endpoint in deployed.of("ec2/vpcEndpoint"):
        for statement in json.loads(endpoint.props["policy"])["Statement"]:
            bounded = statement["Resource"] != "*" or "aws:PrincipalAccount" in str(statement.get("Condition"))
            assert bounded, f"{endpoint.name} lets anybody's credentials out: {statement}"


def test_the_gateway_endpoint_serves_the_tiers_without_internet(deployed):
    s3 = deployed.one("ec2/vpcEndpoint", "network-s3")
    tables = {f"RouteTable-{t.name}" for t in deployed.of("ec2/routeTable") if t.tags["hybrid:tier"] != "public"}
    assert set(s3.props["routeTableIds"]) == tables


def test_flow_logs_are_kept_and_encrypted(deployed, stack):
    flow = deployed.one("ec2/flowLog", "network-flows")
    assert flow.props["trafficType"] == "ALL" and flow.props["vpcId"] == "Vpc-network"
    group = deployed.one("cloudwatch/logGroup", "network-flows")
    assert group.props["kmsKeyId"]
    assert group.props["retentionInDays"] == stack_config(stack)["hybrid-platform:aws"]["network"]["flow_log_days"]


def test_the_default_security_group_is_emptied(deployed):
    (default,) = deployed.of("ec2/defaultSecurityGroup")
    assert not default.props.get("ingress") and not default.props.get("egress")


def group(plan, workload: str) -> str:
    runtime = plan.placement(workload).runtime
    return f"vm-{workload}" if runtime is Runtime.VM else f"pool-{runtime.value}"


def rules(deployed, kind: str) -> set[tuple[str, str, int, str]]:
    """(this group, peer, port, protocol) of the rules of one direction."""
    found = set()
    for r in deployed.of(f"vpc/securityGroup{kind}Rule"):
        assert r.props["fromPort"] == r.props["toPort"], f"{r.name} opens a range"
        peer = r.props.get("referencedSecurityGroupId") or r.props.get("prefixListId") or r.props.get("cidrIpv4")
        own = r.props["securityGroupId"].removeprefix("SecurityGroup-firewall-")
        found.add((own, peer.removeprefix("SecurityGroup-firewall-"), r.props["fromPort"], r.props["ipProtocol"]))
    return found


def test_every_declared_flow_has_both_its_rules(deployed, plan):
    ingress, egress = rules(deployed, "Ingress"), rules(deployed, "Egress")
    flows = list(plan.flows())
    assert flows
    for flow in flows:
        source, destination = group(plan, flow.source), group(plan, flow.destination)
        assert (destination, source, flow.port, "tcp") in ingress, f"{flow} is not let in"
        assert (source, destination, flow.port, "tcp") in egress, f"{flow} is not let out"


def test_no_undeclared_connection_between_workloads_exists(deployed, plan):
    """What is not in platform.yaml is closed: between any two workload groups only declared ports and, within the
    cluster, DNS and kubelet metrics."""
    workload_groups = {group(plan, name) for name in plan.spec.workloads}
    declared = {(group(plan, f.source), group(plan, f.destination), f.port) for f in plan.flows()}
    nodes = {g for g in workload_groups if g.startswith("pool-")} | {"pool-container"}
    platform = {(a, "pool-container", 53) for a in nodes} | {("pool-container", b, 10250) for b in nodes}
    # Node ports: from any node of a public workload's pool to any other.
    public = [name for name, workload in plan.spec.workloads.items() if workload.public]
    platform |= {(group(plan, n), group(plan, n), plan.spec.workloads[n].ports[0]) for n in public}
    for destination, source, port, _ in rules(deployed, "Ingress"):
        if {source, destination} <= workload_groups | nodes:
            assert (source, destination, port) in declared | platform, f"{source} reaches {destination}:{port}"
    for source, destination, port, _ in rules(deployed, "Egress"):
        if {source, destination} <= workload_groups | nodes:
            assert (source, destination, port) in declared | platform, f"{source} may try {destination}:{port}"


def test_a_machine_is_reached_by_its_callers_alone(deployed, plan):
    for name, workload in plan.on(Runtime.VM).items():
        callers = {group(plan, caller) for caller in plan.callers_of(name)}
        inward = {(s, port) for d, s, port, _ in rules(deployed, "Ingress") if d == f"vm-{name}"}
        assert inward == {(caller, port) for caller in callers for port in workload.ports}


def test_nothing_leaves_but_to_groups_and_the_s3_gateway(deployed):
    for own, peer, port, _ in rules(deployed, "Egress"):
        assert "/" not in peer, f"{own} may leave to {peer}:{port}"


def test_rules_are_resources_of_their_own(deployed):
    for group_ in deployed.of("ec2/securityGroup"):
        assert not group_.props.get("ingress") and not group_.props.get("egress")
