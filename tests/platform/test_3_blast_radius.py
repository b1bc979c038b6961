"""The blast radius against reality: every edge and every missing edge is tried, and machines are really lost."""

import json
import statistics
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from infra.insight.blast import loss
from infra.insight.deployed import deployed
from infra.insight.live import cluster_objects
from infra.insight.measure import groups_of, sample
from infra.machines import supervisor
from infra.machines.state import PROJECT, State
from tests.platform.probes import compare, probes
from tests.platform.reach import DNS, NEEDS, from_machine, from_workload, front_door, serves, works

EVIDENCE = PROJECT / "build/evidence/blast-radius"
NOBODY = "10.244.255.250:8081"
# What a user of the web service sees of the workload that it needs.
PORTS = {"ledger": 5432, "tariffs": 7070}


@pytest.fixture
def objects(platform):
    return cluster_objects((platform.state / "kubeconfig").read_text())


@pytest.fixture
def estate(platform, objects):
    exported = json.loads(platform.pulumi("stack", "export"))
    return deployed(platform.outputs, exported["deployment"]["resources"], objects)


def keep(name, outcome):
    """For the report's page, which shows what was predicted beside what happened."""
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    (EVIDENCE / f"{name}.json").write_text(json.dumps(outcome, indent=2) + "\n")


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
        public = front_door(platform)
        answered = from_machine(platform, machine, public, NOBODY)
        assert answered == {public: True, NOBODY: False}, "one answers that no pod has, or none is given the time"
        yield
    finally:
        for addresses in ranges:
            host.run(f"ip route del {addresses}")


def test_every_connection_is_open_or_closed_as_the_graph_says(platform, estate, objects):
    reached = {}
    for source in estate.workloads:
        mine = [probe for probe in probes(estate, objects) if probe.source == source]
        targets = sorted({target for probe in mine for target in probe.targets})
        if source in platform.inventory["all"]["children"]:
            control = front_door(platform)
            with routed_through_the_node(platform, f"{source}-0"):
                answered = from_machine(platform, f"{source}-0", control, *targets)
        else:
            control = DNS
            answered = from_workload(platform, source, control, *targets)
        assert answered[control], f"{source} reaches nothing at all, or is not given the time"
        reached |= {probe: any(answered[target] for target in probe.targets) for probe in mine}
    outcome = compare(estate, reached, datetime.now(UTC))
    keep("connections", outcome)
    assert outcome["tried"] == 12, "four workloads with a port each make twelve pairs"
    assert outcome["differ"] == []


def answers(platform, workload):
    """Whether a workload itself answers, whatever it needs: asked on its own machine, or of the cluster."""
    machine = f"{workload}-0"
    if machine in platform.outputs["machines"]:
        target = f"{platform.outputs['machines'][machine]['address']}:{PORTS[workload]}"
        if not supervisor.is_running(platform.machine_directory(machine)):
            return False
        return from_machine(platform, machine, target)[target]
    within = f"--request-timeout={platform.limit(5)}s"
    asked = platform.kubectl("get", "pods", "--namespace", workload, "--output=json", within, check=False)
    pods = json.loads(asked.stdout)["items"] if asked.returncode == 0 else []
    return any(status["started"] for pod in pods for status in pod["status"].get("containerStatuses", ()))


@pytest.mark.parametrize("machine", ["tariffs-0", "ledger-0", "cluster-0"])
def test_a_lost_machine_takes_down_what_was_predicted_and_nothing_else(platform, estate, machine):
    predicted = loss(estate, machine)
    assert predicted.down, "a machine without a workload would prove nothing"
    assert all(works(platform, path) for path in NEEDS.values()), "what does not work before cannot be seen cut off"
    try:
        supervisor.stop(platform.machine_directory(machine))
        down = [workload for workload in estate.workloads if not answers(platform, workload)]
        # Who stands and is cut off notices with its next request, not at once.
        cut_off = [
            workload
            for workload in predicted.cut_off
            if all(
                platform.comes_true(lambda path=NEEDS[needed]: not works(platform, path)) for needed in predicted.down
            )
        ]
        keep(
            f"lost-{machine}",
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "machine": machine,
                "predicted": {"down": predicted.down, "cut_off": predicted.cut_off},
                "happened": {"down": down, "cut_off": cut_off},
            },
        )
        assert (down, cut_off) == (list(predicted.down), list(predicted.cut_off))
    finally:
        platform.up()
    assert serves(platform)
    assert all(answers(platform, workload) for workload in estate.workloads)


def milliseconds(platform, path, count=15):
    """The median of some requests; every one of them has to be answered."""
    took = []
    for _ in range(count):
        started = time.monotonic()
        assert platform.request(path).status == 200, path
        took.append((time.monotonic() - started) * 1000)
    return round(statistics.median(took), 1)


def test_a_noisy_machine_takes_its_own_share_of_the_processors_and_no_more(platform, estate, objects):
    machine, host = estate.machine("tariffs-0"), platform.host("tariffs-0")
    groups = groups_of(estate, objects["pods"], State(platform.state).bridge)
    before = {path: milliseconds(platform, path) for path in NEEDS.values()}
    try:
        for number in range(4):
            ends = f"--property=RuntimeMaxSec={platform.limit(60)}"
            host.check_output(f"systemd-run --quiet --unit=hog-{number} {ends} sh -c 'while :; do :; done'")
        used = sample({"tariffs": groups["tariffs"]}, count=8, seconds=1)["tariffs"].cpu
        while_noisy = {path: milliseconds(platform, path) for path in NEEDS.values()}
    finally:
        host.run("systemctl stop 'hog-*'")
    keep(
        f"noisy-{machine.name}",
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine.name,
            "predicted": {"cpus": machine.cpus},
            "happened": {"cpus": round(max(used), 3)},
            "milliseconds": {path: {"quiet": before[path], "noisy": while_noisy[path]} for path in before},
        },
    )
    assert machine.cpus == 0.25
    assert max(used) <= machine.cpus * 1.15, "the machine takes more than it was given"
    assert max(used) >= machine.cpus * 0.5, "nothing was noisy: this test has shown nothing"
