"""The blast radius: what the graph of a platform says would fall, and what a change does to it."""

import subprocess
import sys
from pathlib import Path

import pytest

from infra.insight.blast import difference, loss, over_budget, radii
from infra.insight.deployed import deployed
from infra.insight.estate import Estate, relocated
from infra.insight.graph import Edge, Kind, Node, graph_of
from infra.insight.planned import planned
from infra.placement import Runtime, place
from infra.spec import load_spec
from tests.unit.platform_data import ADDRESSES, configuration, objects, outputs, resources, to_address

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan():
    return place(load_spec(ROOT / "platform.yaml"))


def estate(driver: str = "nspawn", **changed) -> Estate:
    return deployed(outputs(driver), resources(), objects() | changed)


def radius(of: Estate, workload: str):
    return next(r for r in radii(of) if r.workload == workload)


def edges(of: Estate) -> set[tuple[str, str, int]]:
    return {(c.source, c.destination, c.port) for c in of.connections}


def test_a_platform_that_was_deployed_as_planned_has_the_plans_connections(plan):
    between_workloads = {edge for edge in edges(estate()) if edge[0] not in ADDRESSES}
    assert between_workloads == edges(planned(plan))


def test_the_node_itself_may_connect_where_a_firewall_knows_only_its_address():
    assert {edge for edge in edges(estate()) if edge[0] in ADDRESSES} == {
        ("cluster-0", "ledger", 5432),
        ("cluster-0", "tariffs", 7070),
    }


def test_a_plain_container_crosses_the_kernel_that_it_shares_and_a_sandbox_does_not():
    real = estate("qemu")
    assert radius(real, "web").falls == {"worker": "kernel cluster-0, machine cluster-0"}
    assert radius(real, "worker").falls == {}
    assert radius(real, "ledger").falls == {}


def test_a_stand_in_for_a_vm_shares_the_hosts_kernel_and_says_so():
    local = estate("nspawn")
    assert set(radius(local, "ledger").falls) == {"tariffs", "web", "worker"}
    assert set(radius(local, "worker").falls) == set(), "gVisor holds, whatever the node is"
    assert local.stand_ins() == (
        "cluster-0: nspawn stands here for a VM",
        "ledger-0: nspawn stands here for a VM",
        "tariffs-0: nspawn stands here for a VM",
        "worker: gVisor (a kernel in user space) stands here for a microVM",
    )


def test_exposed_is_what_something_fallen_may_talk_to():
    assert radius(estate("qemu"), "web").exposed == ("ledger", "tariffs")
    assert radius(estate("qemu"), "worker").exposed == ()


def test_what_an_attacker_holds_is_named():
    web = radius(estate("qemu"), "web")
    assert (web.machines, web.volumes) == (("cluster-0",), ("cluster-0.ext4",))
    assert web.secrets == ("web/ledger",), "the node is the control plane and holds every secret"
    ledger = radius(estate("qemu"), "ledger")
    assert (ledger.machines, ledger.volumes) == (("ledger-0",), ("ledger-0.ext4",))


def test_an_open_egress_policy_is_an_edge_that_nobody_planned():
    opened = [*objects()["networkpolicies"], to_address("worker", ADDRESSES["ledger-0"], 5432)]
    assert edges(estate(networkpolicies=opened)) - edges(estate()) == {("worker", "ledger", 5432)}
    (change,) = difference(estate("qemu"), estate("qemu", networkpolicies=opened))
    assert (change.workload, change.exposed_too) == ("worker", ("ledger",))


def test_a_node_port_opens_a_pod_to_the_machines_only_where_a_policy_admits_them():
    assert {("ledger", "web", 8080), ("tariffs", "web", 8080)} <= edges(estate())
    closed = [p for p in objects()["networkpolicies"] if p["metadata"]["name"] != "public"]
    assert {edge for edge in edges(estate(networkpolicies=closed)) if edge[1] == "web"} == set()
    assert {edge for edge in edges(estate(services=[])) if edge[1] == "web"} == set()


def test_a_firewall_that_does_not_know_the_node_closes_a_machine_to_its_pods():
    others = [r for r in resources() if not r["urn"].endswith("::ledger-0-configuration")]
    closed = configuration("ledger-0", 5432, source=ADDRESSES["tariffs-0"])
    found = edges(deployed(outputs(), [*others, closed], objects()))
    assert {edge for edge in found if edge[1] == "ledger"} == {("tariffs", "ledger", 5432)}


def test_without_any_policy_every_pod_reaches_every_pod():
    assert {("worker", "web", 8080), ("web", "worker", 8081)} <= edges(estate(networkpolicies=[]))


def token() -> dict:
    return {"volumes": [{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]}


@pytest.mark.parametrize(
    ("mounted", "falls"),
    [pytest.param(True, {"web"}, id="token mounted"), pytest.param(False, set(), id="token not mounted")],
)
def test_a_role_counts_only_where_its_token_is_mounted(mounted, falls):
    pods = objects()["pods"]
    if mounted:
        pods[2]["spec"] |= token()
    role = {"metadata": {"name": "deployer"}, "rules": [{"apiGroups": ["*"], "resources": ["pods"], "verbs": ["*"]}]}
    binding = {
        "metadata": {"name": "deployer"},
        "roleRef": {"kind": "ClusterRole", "name": "deployer"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "worker", "name": "worker"}],
    }
    granted = estate("qemu", pods=pods, clusterroles=[role], clusterrolebindings=[binding])
    assert set(radius(granted, "worker").falls) == falls


def test_a_role_that_reads_secrets_is_followed_to_the_secrets():
    pods = objects()["pods"]
    pods[2]["spec"] |= token()
    role = {
        "metadata": {"name": "reader", "namespace": "web"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["ledger"]}],
    }
    binding = {
        "metadata": {"name": "reader", "namespace": "web"},
        "roleRef": {"kind": "Role", "name": "reader"},
        "subjects": [{"kind": "Group", "name": "system:serviceaccounts:worker"}],
    }
    assert radius(estate("qemu", pods=pods, roles=[role], rolebindings=[binding]), "worker").secrets == ("web/ledger",)


def test_what_if_shows_what_each_placement_buys():
    real = estate("qemu")
    (change,) = difference(real, relocated(real, [("worker", Runtime.VM)]))
    assert (change.workload, change.falls_no_more, change.exposed_too) == ("web", ("worker",), ("worker",))
    weaker = {c.workload: c for c in difference(real, relocated(real, [("worker", Runtime.CONTAINER)]))}
    assert weaker["worker"].falls_too == ("web",)
    with pytest.raises(ValueError, match="wroker is not deployed; there are ledger, tariffs, web, worker"):
        relocated(real, [("wroker", Runtime.VM)])


def test_a_lost_machine_takes_its_workloads_and_cuts_off_their_callers():
    gone = loss(estate(), "ledger-0")
    assert (gone.down, gone.cut_off) == (("ledger",), ("web",))
    assert loss(estate(), "cluster-0").down == ("web", "worker")


def test_a_workload_on_two_machines_is_thinned_and_not_down():
    pods = objects()["pods"]
    pods[1]["spec"]["nodeName"] = "cluster-1"
    two = outputs()
    two["machines"]["cluster-1"] = two["machines"]["cluster-0"] | {"address": "10.120.0.14"}
    lost = loss(deployed(two, resources(), objects() | {"pods": pods}), "cluster-0")
    assert (lost.down, lost.thinned) == (("worker",), ("web",))


def test_a_noisy_machine_slows_its_own_takes_its_share_from_its_host_and_names_what_nothing_limits():
    pods = objects()["pods"]
    del pods[2]["spec"]["containers"][0]["resources"]
    noisy = loss(estate(pods=pods), "cluster-0")
    assert (noisy.slowed, noisy.unlimited) == (("web", "worker"), ("worker",))
    assert noisy.neighbours == ("ledger", "tariffs"), "one host carries every local machine"
    assert [loss(estate(), name).takes for name in ("cluster-0", "tariffs-0", "ledger-0")] == [2.0, 0.25, None]


def test_the_reference_platform_is_within_its_budget_and_a_weaker_wall_is_not(plan):
    assert over_budget(plan, planned(plan)) == []
    weaker = relocated(planned(plan), [("tariffs", Runtime.CONTAINER)])
    assert over_budget(plan, weaker) == [
        "tariffs (container): 2 other workloads fall with it (web, worker), the budget allows 1",
        "web (container): 2 other workloads fall with it (tariffs, worker), the budget allows 1",
    ]


def test_the_graph_has_every_kind_of_edge():
    graph = graph_of(estate())
    assert {link.edge for link in graph.links} == set(Edge) - {Edge.CAN_ASSUME}
    shares = {str(link.source) for link in graph.links if link.edge is Edge.SHARES_KERNEL}
    assert shares == {
        "machine cluster-0", "machine ledger-0", "machine tariffs-0", "pod web/web-0", "pod web/web-1"
    }  # fmt: skip
    assert Node(Kind.FIREWALL, "nftables of ledger-0") in graph.nodes()


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "infra.insight", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_commands_answer_the_two_questions():
    assert "worker (through kernel cluster-0, machine cluster-0)" in command("compromised", "web").stdout
    assert "ledger" in command("lost", "ledger-0").stdout
    assert command("budget").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compromised", "wbe"], "wbe is not planned; there are ledger, tariffs, web, worker"),
        (
            ["compromised", "--place", "web=cloud"],
            "'web=cloud' is not WORKLOAD=RUNTIME with one of container, microvm, vm",
        ),
        (["lost", "nix"], "nix is not a machine; there are ledger-0, tariffs-0, cluster-0"),
    ],
)
def test_a_wrong_name_is_told_with_the_right_ones(arguments, told):
    result = command(*arguments)
    assert result.returncode != 0 and told in result.stderr and "Traceback" not in result.stderr
