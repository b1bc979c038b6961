"""The graph against reality: which connections to try between workloads, and how many behaved as the graph says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from infra.insight.cluster import Objects
from infra.insight.estate import Estate
from infra.insight.network_policy import addresses_of
from infra.spec import Runtime


@dataclass(frozen=True)
class Probe:
    """One connection to try.

    Attributes:
        targets: every address:port by which the source could reach it; one that answers is enough.
    """

    source: str
    destination: str
    port: int
    targets: tuple[str, ...]


def probes(estate: Estate, objects: Objects) -> tuple[Probe, ...]:
    """Each workload against each port of each other one: the edges of the graph, and everything that is none."""
    listeners = dict.fromkeys((listener.workload, listener.port) for listener in estate.listeners)
    return tuple(
        Probe(source, destination, port, tuple(dict.fromkeys(_targets(estate, objects, source, destination, port))))
        for source in estate.workloads
        for destination, port in listeners
        if source != destination
    )


def compare(estate: Estate, reached: Mapping[Probe, bool], at: datetime) -> dict[str, Any]:
    """What the report shows: how many agree, and a line for each that does not."""
    edges = {(c.source, c.destination, c.port) for c in estate.connections}
    differ = []
    for probe, was_reached in reached.items():
        expected = (probe.source, probe.destination, probe.port) in edges
        if was_reached is not expected:
            state = "open, but not in the graph" if was_reached else "in the graph, but closed"
            differ.append(f"{probe.source} → {probe.destination}:{probe.port} is {state}")
    return {
        "at": at.isoformat(timespec="seconds"),
        "tried": len(reached),
        "agree": len(reached) - len(differ),
        "differ": differ,
    }


def _targets(estate: Estate, objects: Objects, source: str, destination: str, port: int) -> Iterator[str]:
    machines = {machine.name: machine.address for machine in estate.machines}
    for unit in estate.units_of(destination):
        yield f"{machines[unit.machine]}:{port}"
    if all(unit.runtime is Runtime.VM for unit in estate.units_of(destination)):
        return
    from_vm = all(unit.runtime is Runtime.VM for unit in estate.units_of(source))
    for service in objects["services"]:
        if service["metadata"]["namespace"] == destination:
            yield from _service_targets(service, port, machines, estate.units_of(destination)[0].machine, from_vm)
    for pod in objects["pods"]:
        if pod["metadata"]["namespace"] == destination:
            yield from (f"{address}:{port}" for address in addresses_of(pod))


def _service_targets(
    service: Mapping[str, Any], port: int, machines: Mapping[str, str], node: str, from_vm: bool
) -> Iterator[str]:
    for entry in service["spec"].get("ports") or ():
        if entry.get("targetPort", entry["port"]) not in (port, entry.get("name")):
            continue
        yield f"{service['spec'].get('clusterIP')}:{entry['port']}"
        # Pods are not tried on node ports: the policy engine judges what the port leads to, as it does above.
        if entry.get("nodePort") and from_vm:
            yield f"{machines[node]}:{entry['nodePort']}"
