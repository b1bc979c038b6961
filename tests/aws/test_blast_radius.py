"""The graph of a stack on AWS, drawn from its state: the recorded stacks, as `pulumi stack export` would tell them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from infra.insight import report
from infra.insight.blast import loss, over_budget, radii
from infra.insight.deployed import deployed
from infra.insight.estate import relocated
from infra.insight.graph import Edge, Kind, Node, graph_of
from infra.insight.iam import allows, statements, trusts
from infra.insight.live import Stack
from infra.placement import Runtime
from tests.unit.platform_data import deny, namespace_selector, pod, policy, to_address

PLAIN, SANDBOXED = "ip-10-64-64-10.internal", "ip-10-64-64-20.internal"


@pytest.fixture(scope="module")
def exported(dev_recording) -> str:
    return json.dumps(dev_recording.exported())


@pytest.fixture
def state(exported):
    """A copy for each test, which may change it."""
    return json.loads(exported)


def resources(state) -> list:
    return state["deployment"]["resources"]


def outputs(state) -> dict:
    return resources(state)[0]["outputs"]


def one(state, kind: str, name: str) -> dict:
    return next(r for r in resources(state) if r["type"].startswith(f"aws:{kind}:") and r["urn"].endswith(f"::{name}"))


def objects(state) -> dict:
    """The cluster of the recorded stack: web on a plain node, worker on a sandboxed one, and a node's own agent."""

    def node(name: str, pool: str, address: str) -> dict:
        group = one(state, "eks/nodeGroup", f"cluster-{pool}")["outputs"]["nodeGroupName"]
        labels = {"eks.amazonaws.com/nodegroup": group}
        return {
            "metadata": {"name": name, "labels": labels},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }

    def running(workload: str, port: int, name: str, address: str, **spec) -> dict:
        made = pod(workload, 0, port, **spec)
        made["spec"]["nodeName"] = name
        made["status"]["podIPs"] = [{"ip": address}]
        return made

    token = [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
    agent = running("kube-system", 9000, PLAIN, "10.64.64.13", volumes=token)
    agent["spec"]["serviceAccountName"] = "cluster-autoscaler"
    members = {name: facts["address"] for name, facts in outputs(state)["machines"].items()}
    names = ("web", "worker", "kube-system")
    into_worker = {"from": [namespace_selector("web")], "ports": [{"port": 8081}]}
    out_of_web = {"to": [namespace_selector("worker")], "ports": [{"port": 8081}]}
    return {
        "nodes": [node(PLAIN, "container", "10.64.64.10"), node(SANDBOXED, "microvm", "10.64.64.20")],
        "namespaces": [{"metadata": {"name": n, "labels": {"kubernetes.io/metadata.name": n}}} for n in names],
        "pods": [
            running("web", 8080, PLAIN, "10.64.64.11"),
            running("worker", 8081, SANDBOXED, "10.64.64.21", runtimeClassName="gvisor"),
            agent,
        ],
        "services": [
            {
                "metadata": {"namespace": "web", "name": "web"},
                "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080, "nodePort": 32593}]},
            }
        ],
        "secrets": [{"metadata": {"namespace": "web", "name": "ledger"}}],
        "networkpolicies": [
            deny("web"),
            deny("worker"),
            policy("web", "public", policyTypes=["Ingress"], ingress=[{"ports": [{"port": 8080}]}]),
            to_address("web", members["ledger-0"], 5432),
            to_address("web", members["tariffs-0"], 7070),
            policy("web", "to-worker", policyTypes=["Egress"], egress=[out_of_web]),
            policy("worker", "from-web", policyTypes=["Ingress"], ingress=[into_worker]),
        ],
        "runtimeclasses": [{"metadata": {"name": "gvisor"}, "handler": "runsc"}],
        "roles": [],
        "rolebindings": [],
        "clusterroles": [],
        "clusterrolebindings": [],
    }


def estate(state, **changed):
    return deployed(outputs(state), resources(state), objects(state) | changed)


def edges(of) -> set[tuple[str, str, int]]:
    return {(c.source, c.destination, c.port) for c in of.connections}


def radius(of, workload: str):
    return next(r for r in radii(of) if r.workload == workload)


def permit(state, group: str, **rule) -> None:
    """Let a group be reached, as somebody's click in the console would look after `pulumi refresh`."""
    found = one(state, "ec2/securityGroup", group)["outputs"]
    found["ingress"] = [{"protocol": "tcp", **rule}]


def grant(state, role: str, *granted: dict) -> None:
    inline = one(state, "iam/rolePolicy", role)["outputs"]
    document = json.loads(inline["policy"])
    inline["policy"] = json.dumps(document | {"Statement": [*document["Statement"], *granted]})


def test_the_graph_of_the_state_has_the_plans_connections_and_no_other(state, plan):
    found = estate(state)
    between_workloads = {e for e in edges(found) if e[0] in found.workloads}
    meant = {(flow.source, flow.destination, flow.port) for flow in plan.flows()}
    assert between_workloads == meant
    assert edges(found) - between_workloads == {(PLAIN, "ledger", 5432), (PLAIN, "tariffs", 7070)}
    through = next(c.through for c in found.connections if (c.source, c.destination) == ("web", "ledger"))
    assert through == "egress policy and security group vm-ledger and nftables of ledger-0"


def test_every_recorded_stack_can_be_read(recording):
    found = deployed(recording.outputs, recording.exported()["deployment"]["resources"], None)
    assert {"ledger-0", "tariffs-0", "nodes of container", "nodes of microvm"} <= {m.name for m in found.machines}
    assert "the cluster's objects" in found.unseen
    assert {"ledger", "tariffs"} == set(found.workloads), "what runs in a cluster that nobody looked at is not made up"


def test_a_node_group_stands_for_its_nodes_where_the_cluster_was_not_looked_at(state):
    found = edges(deployed(outputs(state), resources(state), None))
    assert ("nodes of container", "ledger", 5432) in found
    assert not [e for e in found if e[0] == "nodes of microvm"]


@pytest.mark.parametrize("half", ["egress", "ingress"])
def test_a_connection_needs_both_halves_of_its_rule(state, half):
    kind = f"vpc/securityGroup{half.capitalize()}Rule"
    resources(state).remove(one(state, kind, "firewall-pool-container-to-vm-ledger-5432"))
    assert not [e for e in edges(estate(state)) if e[1] == "ledger"]


def test_a_rule_that_a_refresh_has_found_is_an_edge_only_where_the_machine_lets_it_in_as_well(state):
    permit(state, "firewall-vm-ledger", fromPort=5432, toPort=5432, cidrBlocks=["10.64.64.0/16"])
    one(state, "ec2/securityGroup", "firewall-vm-tariffs")["outputs"]["egress"] = [
        {"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}
    ]
    assert not [e for e in edges(estate(state)) if e[:2] == ("tariffs", "ledger")], "nftables of ledger-0 still hold"
    tariffs = outputs(state)["machines"]["tariffs-0"]["address"]
    outputs(state)["inventory"]["all"]["hosts"]["ledger-0"]["firewall_allow"][0]["sources"].append(tariffs)
    assert ("tariffs", "ledger", 5432) in edges(estate(state))
    assert "ledger" in radius(estate(state), "tariffs").exposed


def test_pods_of_two_pools_need_the_groups_of_both(state):
    assert ("web", "worker", 8081) in edges(estate(state))
    resources(state).remove(one(state, "vpc/securityGroupIngressRule", "firewall-pool-container-to-pool-microvm-8081"))
    assert ("web", "worker", 8081) not in edges(estate(state))


def test_machines_have_kernels_of_their_own_and_nothing_stands_in_for_them(state, plan):
    found = estate(state)
    assert all(machine.kernel == machine.name for machine in found.machines)
    assert [s for s in found.stand_ins() if not s.startswith("worker: gVisor")] == []
    assert (radius(found, "ledger").falls, radius(found, "worker").falls, radius(found, "web").falls) == ({}, {}, {})
    assert over_budget(plan, found) == []


def test_a_member_holds_its_role_its_secret_and_its_volume_and_no_other(state):
    found = estate(state)
    ledger, tariffs = radius(found, "ledger"), radius(found, "tariffs")
    assert (ledger.secrets, ledger.volumes) == (("/hybrid/reference-aws-dev/ledger",), ("vm-ledger-0-data",))
    assert (tariffs.secrets, tariffs.volumes) == ((), ())
    graph = graph_of(found)
    member, role = Node(Kind.MACHINE, "ledger-0"), Node(Kind.ROLE, "IAM vm-ledger")
    assert role in {link.target for link in graph.out(member, Edge.CAN_ASSUME)}
    assert Node(Kind.FIREWALL, "security group vm-ledger") in graph.nodes()


def test_a_secret_is_read_only_by_whom_its_key_admits(state):
    arn = one(state, "secretsmanager/secret", "vm-ledger")["outputs"]["arn"]
    grant(state, "vm-tariffs", {"Effect": "Allow", "Action": "secretsmanager:Get*", "Resource": arn})
    assert radius(estate(state), "tariffs").secrets == (), "its role may read it, but has no use of the key"
    key = one(state, "kms/key", "keys-data")["outputs"]["arn"]
    grant(state, "vm-tariffs", {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": key})
    assert radius(estate(state), "tariffs").secrets == ("/hybrid/reference-aws-dev/ledger",)


def test_whoever_may_command_a_machine_takes_it(state):
    everywhere = {"Effect": "Allow", "Action": "ssm:*", "Resource": "*"}
    only_dev = {"StringEquals": {"aws:ResourceTag/hybrid:workload": "ledger"}}
    grant(state, "vm-tariffs", everywhere | {"Condition": only_dev})
    assert radius(estate(state), "tariffs").falls == {
        "ledger": "machine tariffs-0, role IAM vm-tariffs, machine ledger-0"
    }


def test_a_role_that_becomes_another_has_its_powers(state):
    operator = one(state, "iam/role", "jobs-operator")["outputs"]
    grant(state, "vm-tariffs", {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": operator["arn"]})
    assert radius(estate(state), "tariffs").falls == {}, "a role that does not trust is not assumed"
    trusted = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::111122223333:root"}}
    operator["assumeRolePolicy"] = json.dumps({"Statement": [trusted]})
    for role in ("vm-tariffs", "jobs-operator"):
        arn = f"arn:aws:iam::111122223333:role/{role}"
        one(state, "iam/role", role)["outputs"]["arn"] = arn
    one(state, "eks/accessPolicyAssociation", "cluster-operator")["outputs"]["principalArn"] = operator["arn"]
    grant(state, "vm-tariffs", {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": operator["arn"]})
    took = radius(estate(state), "tariffs")
    assert set(took.falls) == {"web", "worker"}, "the operator is the cluster's administrator"
    assert {"web/ledger", "/hybrid/reference-aws-dev/ledger"} <= set(took.secrets)


def test_a_node_holds_the_tokens_of_the_clusters_own_pods_on_it(state):
    found = graph_of(estate(state))
    node, account = Node(Kind.MACHINE, PLAIN), Node(Kind.SERVICE_ACCOUNT, "kube-system/cluster-autoscaler")
    assert account in {link.target for link in found.out(node, Edge.CAN_ASSUME)}
    roles = {link.target.name for link in found.out(account, Edge.CAN_ASSUME)}
    assert roles == {"IAM cluster-autoscaler"}
    assert not list(found.out(Node(Kind.MACHINE, SANDBOXED), Edge.CAN_READ))


def test_a_lost_node_takes_its_pods_and_their_images_are_known(state):
    found = estate(state)
    assert (loss(found, PLAIN).down, loss(found, SANDBOXED).down) == (("web",), ("worker",))
    assert loss(found, "ledger-0").slowed == ("ledger",), "who else is on the same host of AWS is not known"
    images = {link.target.name for link in graph_of(found).links if link.edge is Edge.SAME_IMAGE}
    assert {"ami-of-debian-13-amd64-20251117-2299", "AL2023_x86_64_STANDARD 1.35.6-20260714"} <= images


def test_what_if_uses_the_pool_of_the_runtime(state):
    found = relocated(estate(state), [("tariffs", Runtime.CONTAINER)])
    assert found.units_of("tariffs")[0].machine == PLAIN
    assert radius(found, "tariffs").falls == {"web": f"kernel {PLAIN}, machine {PLAIN}"}


@pytest.mark.parametrize("is_seen", [True, False], ids=["with its cluster", "by its state alone"])
def test_the_page_shows_a_stack_on_aws(state, plan, is_seen):
    stack = Stack("aws-dev", outputs(state), resources(state), objects=objects(state) if is_seen else None)
    found = stack.estate()
    data = report.gather(plan, found, stack, now=datetime(2026, 11, 24, 12, tzinfo=UTC))
    assert data["drift"] == {"placement": [], "open_but_not_meant": [], "meant_but_closed": []}
    assert ("not looked at" in report.render(data, found)) is not is_seen


DENY_PLAIN_HTTP = {
    **{"Effect": "Deny", "Action": "*", "Resource": "*"},
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
STATEMENT = {"Effect": "Allow", "Action": ["s3:Get*"], "Resource": ["arn:aws:s3:::a/*"]}


@pytest.mark.parametrize(
    ("extra", "action", "resource", "tags", "allowed"),
    [
        ([], "s3:GetObject", "arn:aws:s3:::a/b", {}, True),
        ([], "S3:getobject", "arn:aws:s3:::a/b", {}, True),
        ([], "s3:PutObject", "arn:aws:s3:::a/b", {}, False),
        ([], "s3:GetObject", "arn:aws:s3:::ab/b", {}, False),
        ([{"Effect": "Deny", "Action": "*", "Resource": "*"}], "s3:GetObject", "arn:aws:s3:::a/b", {}, False),
        ([DENY_PLAIN_HTTP], "s3:GetObject", "arn:aws:s3:::a/b", {}, True),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "ec2:StopInstances", "x", {}, True),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "iam:PassRole", "x", {}, False),
        ([{"Effect": "Allow", "Action": "ec2:*", "NotResource": "y"}], "ec2:StopInstances", "y", {}, False),
    ],
)  # fmt: skip
def test_a_policy_is_read_as_iam_reads_it(extra, action, resource, tags, allowed):
    assert allows(statements({"Statement": [STATEMENT, *extra]}), action, resource, tags) is allowed


@pytest.mark.parametrize(("workload", "allowed"), [("ledger", True), ("tariffs", False), (None, False)])
def test_a_condition_on_a_tag_is_checked_and_any_other_is_taken_to_hold(workload, allowed):
    condition = {
        "StringEquals": {
            "aws:ResourceTag/hybrid:workload": "ledger",
            "kms:ViaService": "ec2.eu-central-1.amazonaws.com",
        }
    }
    policy_ = [{"Effect": "Allow", "Action": "ec2:AttachVolume", "Resource": "*", "Condition": condition}]
    assert allows(policy_, "ec2:AttachVolume", "v", {"hybrid:workload": workload} if workload else {}) is allowed


def test_a_tag_that_is_not_there_is_like_nothing():
    anything = {"StringLike": {"aws:ResourceTag/hybrid:workload": "*"}}
    policy_ = [{"Effect": "Allow", "Action": "ec2:AttachVolume", "Resource": "*", "Condition": anything}]
    assert allows(policy_, "ec2:AttachVolume", "v", {"hybrid:workload": "ledger"})
    assert not allows(policy_, "ec2:AttachVolume", "v", {})


def test_a_service_is_no_role():
    document = {"Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}}
    assert not trusts(document, "arn:aws:iam::1:role/x")
    assert not trusts(
        {"Statement": {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::2:root"}}}, "arn:aws:iam::1:role/x"
    )
