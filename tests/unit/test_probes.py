"""Which connections are tried against a real platform, and how the outcome is told."""

from datetime import UTC, datetime

import pytest

from infra.insight.deployed import deployed
from tests.platform.probes import compare, probes
from tests.unit.platform_data import ADDRESSES, objects, outputs, resources

AT = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def cluster():
    found = objects()
    found["services"][0]["spec"] |= {
        "clusterIP": "10.96.0.5",
        "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
    }
    return found


@pytest.fixture
def estate(cluster):
    return deployed(outputs(), resources(), cluster)


def test_every_pair_of_workloads_is_tried_edge_or_not(estate, cluster):
    tried = {(probe.source, probe.destination, probe.port) for probe in probes(estate, cluster)}
    ports = {"ledger": 5432, "tariffs": 7070, "web": 8080, "worker": 8081}
    assert tried == {(s, d, ports[d]) for s in ports for d in ports if s != d}


def test_a_probe_tries_every_way_in(estate, cluster):
    found = {(probe.source, probe.destination): probe.targets for probe in probes(estate, cluster)}
    node = ADDRESSES["cluster-0"]
    assert found["web", "ledger"] == (f"{ADDRESSES['ledger-0']}:5432",)
    assert set(found["ledger", "web"]) == {
        f"{node}:8080", f"{node}:30080", "10.96.0.5:80", "10.244.0.80:8080", "10.244.0.81:8080"
    }  # fmt: skip
    assert f"{node}:30080" not in found["worker", "web"]


def test_agreement_is_counted_and_each_difference_is_told(estate, cluster):
    edges = {(c.source, c.destination, c.port) for c in estate.connections}
    reached = {probe: (probe.source, probe.destination, probe.port) in edges for probe in probes(estate, cluster)}
    assert compare(estate, reached, AT)["agree"] == 12
    wrong = {probe: not was if probe.source == "worker" else was for probe, was in reached.items()}
    told = compare(estate, wrong, AT)
    assert (told["tried"], told["agree"]) == (12, 9)
    assert "worker → ledger:5432 is open, but not in the graph" in told["differ"]
