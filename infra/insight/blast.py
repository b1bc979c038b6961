"""The article's two questions: what fails when a workload is compromised, and when a machine is noisy or lost?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from infra.insight.estate import Estate
from infra.insight.graph import Edge, Graph, Kind, Link, Node, falls_with, graph_of
from infra.placement import Plan, Runtime


@dataclass(frozen=True)
class Radius:
    """What one compromised workload takes with it.

    Attributes:
        falls: other workloads that fall without a further flaw, each with the way it fell.
        exposed: other workloads that stand, but that something fallen can now talk to.
        machines, secrets, volumes: what is in the attacker's hands.
    """

    workload: str
    runtime: Runtime
    falls: dict[str, str]
    exposed: tuple[str, ...]
    machines: tuple[str, ...]
    secrets: tuple[str, ...]
    volumes: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.falls)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "runtime": self.runtime.value, "size": self.size}


@dataclass(frozen=True)
class Loss:
    """What a machine takes with it when it is lost, and whom it slows when it is noisy.

    Attributes:
        down: workloads of which no copy is left.
        thinned: workloads that lose some of their copies.
        cut_off: workloads that stand but need one that is down, directly or by way of others.
        slowed: workloads on it.
        neighbours: workloads on the same host, which it can slow where the host has no processors to spare.
        takes: how many processors it can take from them at most; None if nothing is known to limit it.
        unlimited: workloads in a pod on it that has no limit of its own.
    """

    machine: str
    down: tuple[str, ...]
    thinned: tuple[str, ...]
    cut_off: tuple[str, ...]
    slowed: tuple[str, ...]
    neighbours: tuple[str, ...]
    takes: float | None
    unlimited: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """How one workload's radius differs between two estates."""

    workload: str
    falls_too: tuple[str, ...]
    falls_no_more: tuple[str, ...]
    exposed_too: tuple[str, ...]
    exposed_no_more: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.falls_too or self.falls_no_more or self.exposed_too or self.exposed_no_more)


def radii(estate: Estate) -> tuple[Radius, ...]:
    """What fails when each of the workloads is compromised?"""
    graph = graph_of(estate)
    return tuple(_radius(estate, graph, workload) for workload in estate.workloads)


def radius_of(estate: Estate, workload: str) -> Radius:
    """What fails when this one is compromised?"""
    return _radius(estate, graph_of(estate), workload)


def loss(estate: Estate, machine: str) -> Loss:
    """What fails when this machine is lost or noisy?"""
    here = estate.machine(machine)
    down, thinned = [], []
    for workload in estate.workloads:
        machines = {unit.machine for unit in estate.units_of(workload)}
        if machines == {machine}:
            down.append(workload)
        elif machine in machines:
            thinned.append(workload)
    beside = {m.name for m in estate.machines if m is not here and here.host and m.host == here.host}
    slowed = [unit for unit in estate.units if unit.machine == machine]
    neighbours = [unit.workload for unit in estate.units if unit.machine in beside]
    return Loss(
        machine,
        tuple(down),
        tuple(thinned),
        _cut_off(estate, down),
        tuple(dict.fromkeys(unit.workload for unit in slowed)),
        tuple(dict.fromkeys(neighbours)),
        here.cpus,
        tuple(dict.fromkeys(unit.workload for unit in slowed if not unit.limited)),
    )


def over_budget(plan: Plan, estate: Estate) -> list[str]:
    """One line for each workload whose radius is larger than the spec's budget for its runtime."""
    lines = []
    for radius in radii(estate):
        allowed = plan.spec.budgets.blast_radius.get(radius.runtime)
        if allowed is not None and radius.size > allowed:
            fall = "1 other workload falls" if radius.size == 1 else f"{radius.size} other workloads fall"
            with_it = ", ".join(radius.falls)
            lines.append(
                f"{radius.workload} ({radius.runtime.value}): {fall} with it ({with_it}), the budget allows {allowed}"
            )
    return lines


def difference(before: Estate, after: Estate) -> tuple[Change, ...]:
    """What a change does to every radius; workloads whose radius stays are left out."""
    old, new = ({radius.workload: radius for radius in radii(estate)} for estate in (before, after))
    changes = []
    for workload in dict.fromkeys([*old, *new]):
        falls = [set(side[workload].falls) if workload in side else set() for side in (old, new)]
        exposed = [set(side[workload].exposed) if workload in side else set() for side in (old, new)]
        changes.append(
            Change(
                workload,
                tuple(sorted(falls[1] - falls[0])),
                tuple(sorted(falls[0] - falls[1])),
                tuple(sorted(exposed[1] - exposed[0])),
                tuple(sorted(exposed[0] - exposed[1])),
            )
        )
    return tuple(change for change in changes if not change.is_empty)


def _radius(estate: Estate, graph: Graph, workload: str) -> Radius:
    start = Node(Kind.WORKLOAD, workload)
    fallen = falls_with(graph, [start])

    def named(kind: Kind) -> tuple[str, ...]:
        return tuple(sorted(node.name for node in fallen if node.kind is kind))

    workloads = [name for name in estate.workloads if name != workload and Node(Kind.WORKLOAD, name) in fallen]
    reached = {link.target.name for node in fallen for link in graph.out(node, Edge.CAN_CONNECT)}
    return Radius(
        workload,
        max((unit.runtime for unit in estate.units_of(workload)), key=lambda runtime: -runtime.strength),
        {name: _way(fallen, Node(Kind.WORKLOAD, name)) for name in workloads},
        tuple(name for name in estate.workloads if name in reached and name not in {workload, *workloads}),
        named(Kind.MACHINE),
        named(Kind.SECRET),
        named(Kind.VOLUME),
    )


def _way(fallen: dict[Node, Link | None], node: Node) -> str:
    """The nodes between the compromised workload and this one, nearest first."""
    steps: list[str] = []
    link = fallen[node]
    while link is not None:
        previous = link.source if link.target == node else link.target
        if previous.kind in (Kind.KERNEL, Kind.MACHINE, Kind.ROLE, Kind.SERVICE_ACCOUNT):
            steps.append(str(previous))
        node, link = previous, fallen[previous]
    return ", ".join(reversed(steps))


def _cut_off(estate: Estate, down: list[str]) -> tuple[str, ...]:
    hurt = set(down)
    grown = True
    while grown:
        callers = {caller for caller, needed in estate.dependencies if needed in hurt} - hurt
        grown = bool(callers)
        hurt |= callers
    return tuple(name for name in estate.workloads if name in hurt and name not in down)
