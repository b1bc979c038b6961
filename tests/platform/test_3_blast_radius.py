"""The blast radius against reality: every edge and every missing edge is tried, and machines are really lost."""

import json
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from infra.insight.blast import loss
from infra.insight.deployed import deployed
from infra.insight.live import cluster_objects
from infra.insight.probes import compare, probes
from infra.machines import supervisor
from infra.machines.state import PROJECT
from tests.platform.reach import from_machine, from_workload

EVIDENCE = PROJECT / "build/evidence/blast-radius.json"
NOBODY = "10.244.255.250:8081"
# What a user of the web service sees of the workload that it needs.
NEEDS = {"ledger": "/readyz", "tariffs": "/price?currency=EUR"}


@pytest.fixture
def objects(platform):
    return cluster_objects((platform.state / "kubeconfig").read_text())


@pytest.fixture
def estate(platform, objects):
    exported = json.loads(platform.pulumi("stack", "export"))
    return deployed(platform.outputs, exported["deployment"]["resources"], objects)


@contextmanager
def routed_through_the_node(platform, machine):
    """A machine whose attacker has found the way to pods and services: the node, which forwards.

    Without the routes these addresses lead out of the platform, where a proxy may well answer for them.
    """
    host, node = platform.host(machine), platform.outputs["machines"]["cluster-0"]["address"]
    ranges = ("10.244.0.0/16", "10.96.0.0/16")
    try:
        for addresses in ranges:
            host.check_output(f"ip route replace {addresses} via {node}")
        assert from_machine(host, NOBODY) == {NOBODY: False}, "something answers for an address that no pod has"
        yield host
    finally:
        for addresses in ranges:
            host.run(f"ip route del {addresses}")


def test_every_connection_is_open_or_closed_as_the_graph_says(platform, estate, objects):
    reached = {}
    for source in estate.workloads:
        mine = [probe for probe in probes(estate, objects) if probe.source == source]
        targets = sorted({target for probe in mine for target in probe.targets})
        if source in platform.inventory["all"]["children"]:
            with routed_through_the_node(platform, f"{source}-0") as machine:
                answered = from_machine(machine, *targets)
        else:
            answered = from_workload(platform, source, *targets)
        reached |= {probe: any(answered[target] for target in probe.targets) for probe in mine}
    outcome = compare(estate, reached, datetime.now(UTC))
    EVIDENCE.parent.mkdir(parents=True, exist_ok=True)
    EVIDENCE.write_text(json.dumps(outcome, indent=2) + "\n")
    assert outcome["tried"] == 12, "four workloads with a port each make twelve pairs"
    assert outcome["differ"] == []


def answers(platform, workload):
    """Whether a workload itself answers, whatever it needs."""
    machine = platform.outputs["machines"].get(f"{workload}-0")
    if machine:
        port = platform.host("cluster-0"), f"{machine['address']}:{5432 if workload == 'ledger' else 7070}"
        return all(from_machine(*port).values())
    pods = platform.objects("pods", "--namespace", workload)
    return any(status["started"] for pod in pods for status in pod["status"].get("containerStatuses", ()))


def works(platform, path):
    try:
        return platform.request(path, timeout=5).status == 200
    except OSError:
        return False


def settles(check, wanted, seconds=90):
    ends = time.monotonic() + seconds
    while check() != wanted and time.monotonic() < ends:
        time.sleep(1)
    return check() == wanted


@pytest.mark.parametrize("machine", ["tariffs-0", "ledger-0"])
def test_a_lost_machine_takes_down_what_was_predicted_and_nothing_else(platform, estate, machine):
    predicted = loss(estate, machine)
    assert predicted.down and predicted.cut_off == ("web",)
    try:
        supervisor.stop(platform.machine_directory(machine))
        down = {workload for workload in estate.workloads if not answers(platform, workload)}
        assert down == set(predicted.down)
        for needed in predicted.down:
            assert settles(lambda path=NEEDS[needed]: works(platform, path), False), "web does without what it needs"
    finally:
        platform.up()
    for path in NEEDS.values():
        assert settles(lambda path=path: works(platform, path), True), path
