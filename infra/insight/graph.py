"""The typed graph: nodes that can fall, and the edges over which a fall spreads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from infra.insight.estate import Estate
from infra.spec import Runtime


class Kind(str, Enum):
    WORKLOAD = "workload"
    POD = "pod"
    SERVICE_ACCOUNT = "service account"
    ROLE = "role"
    FIREWALL = "firewall"
    MACHINE = "machine"
    KERNEL = "kernel"
    VOLUME = "volume"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    IMAGE = "image"


class Edge(str, Enum):
    CAN_CONNECT = "can-connect"
    CAN_ASSUME = "can-assume"
    CAN_READ = "can-read"
    RUNS_ON = "runs-on"
    SHARES_KERNEL = "shares-kernel"
    SAME_IMAGE = "same-image"


@dataclass(frozen=True, order=True)
class Node:
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


@dataclass(frozen=True)
class Link:
    """`note` says more for a reader: a port, the rule that lets a connection pass."""

    source: Node
    edge: Edge
    target: Node
    note: str = ""


@dataclass(frozen=True)
class Graph:
    links: tuple[Link, ...]

    @cached_property
    def _out(self) -> dict[tuple[Node, Edge], list[Link]]:
        return self._index(lambda link: link.source)

    @cached_property
    def _in(self) -> dict[tuple[Node, Edge], list[Link]]:
        return self._index(lambda link: link.target)

    def _index(self, end: Callable[[Link], Node]) -> dict[tuple[Node, Edge], list[Link]]:
        index: dict[tuple[Node, Edge], list[Link]] = defaultdict(list)
        for link in self.links:
            index[end(link), link.edge].append(link)
        return index

    def out(self, node: Node, edge: Edge) -> Iterator[Link]:
        yield from self._out.get((node, edge), ())

    def into(self, node: Node, edge: Edge) -> Iterator[Link]:
        yield from self._in.get((node, edge), ())

    def nodes(self) -> list[Node]:
        return sorted({node for link in self.links for node in (link.source, link.target)})


def graph_of(estate: Estate) -> Graph:
    return Graph(tuple(dict.fromkeys([*_machines(estate), *_units(estate), *_identities(estate), *_network(estate)])))


def _machines(estate: Estate) -> Iterator[Link]:
    for machine in estate.machines:
        here, kernel = Node(Kind.MACHINE, machine.name), Node(Kind.KERNEL, machine.kernel)
        yield Link(here, Edge.RUNS_ON, kernel)
        if machine.kernel != machine.name:
            yield Link(here, Edge.SHARES_KERNEL, kernel, machine.stand_in)
        for volume in machine.volumes:
            yield Link(here, Edge.CAN_READ, Node(Kind.VOLUME, volume), "attached")
        if machine.is_control_plane:
            for secret in estate.cluster_secrets:
                yield Link(here, Edge.CAN_READ, Node(Kind.SECRET, secret), "the cluster's store")
            for unit in estate.units:
                if unit.runtime is not Runtime.VM and unit.machine != machine.name:
                    yield Link(here, Edge.CAN_ASSUME, Node(Kind.POD, unit.name), "commands its kubelet")
    yield from _same_image(estate)


def _same_image(estate: Estate) -> Iterator[Link]:
    pairs = [(Node(Kind.MACHINE, m.name), m.image) for m in estate.machines]
    pairs += [(Node(Kind.POD, u.name), u.image) for u in estate.units if u.runtime is not Runtime.VM]
    for node, image in pairs:
        if image:
            yield Link(node, Edge.SAME_IMAGE, Node(Kind.IMAGE, image))


def _units(estate: Estate) -> Iterator[Link]:
    for unit in estate.units:
        workload, machine = Node(Kind.WORKLOAD, unit.workload), Node(Kind.MACHINE, unit.machine)
        if unit.runtime is Runtime.VM:
            here = machine
            yield Link(workload, Edge.RUNS_ON, machine)
        else:
            here = Node(Kind.POD, unit.name)
            yield Link(workload, Edge.RUNS_ON, here)
            yield Link(here, Edge.RUNS_ON, machine)
        if unit.shares_kernel:
            kernel = estate.machine(unit.machine).kernel
            yield Link(here, Edge.SHARES_KERNEL, Node(Kind.KERNEL, kernel), "a plain container")
        for secret in unit.secrets:
            yield Link(here, Edge.CAN_READ, Node(Kind.SECRET, secret), "mounted")
        for volume in unit.volumes:
            yield Link(here, Edge.CAN_READ, Node(Kind.VOLUME, volume), "mounted")
        if unit.identity and unit.identity_mounted:
            yield Link(here, Edge.CAN_ASSUME, Node(Kind.SERVICE_ACCOUNT, unit.identity), "its token is mounted")


def _identities(estate: Estate) -> Iterator[Link]:
    machines = {machine.name for machine in estate.machines}
    for machine, account in estate.tokens:
        here = Node(Kind.MACHINE, machine)
        yield Link(here, Edge.CAN_ASSUME, Node(Kind.SERVICE_ACCOUNT, account), "its token is on the machine")
    for role in estate.roles:
        here = Node(Kind.ROLE, role.name)
        for holder in role.held_by:
            kind = Kind.MACHINE if holder in machines else Kind.SERVICE_ACCOUNT
            yield Link(Node(kind, holder), Edge.CAN_ASSUME, here)
        for secret in role.secrets:
            yield Link(here, Edge.CAN_READ, Node(Kind.SECRET, secret))
        for volume in role.volumes:
            yield Link(here, Edge.CAN_READ, Node(Kind.VOLUME, volume), "may attach it")
        for workload in role.enters:
            yield Link(here, Edge.CAN_ASSUME, Node(Kind.WORKLOAD, workload), "may enter or make its pods")
        for machine in role.commands:
            yield Link(here, Edge.CAN_ASSUME, Node(Kind.MACHINE, machine), "may run commands in it")
        for other in role.assumes:
            yield Link(here, Edge.CAN_ASSUME, Node(Kind.ROLE, other))


def _network(estate: Estate) -> Iterator[Link]:
    machines = {machine.name for machine in estate.machines}
    workloads = set(estate.workloads)
    for listener in estate.listeners:
        if listener.firewall:
            firewall = Node(Kind.FIREWALL, listener.firewall)
            yield Link(firewall, Edge.CAN_CONNECT, Node(Kind.WORKLOAD, listener.workload), str(listener.port))
    for connection in estate.connections:
        kind = Kind.WORKLOAD if connection.source in workloads else Kind.MACHINE
        if kind is Kind.MACHINE and connection.source not in machines:
            continue
        source, target = Node(kind, connection.source), Node(Kind.WORKLOAD, connection.destination)
        yield Link(source, Edge.CAN_CONNECT, target, f"{connection.port}, {connection.through}")


def falls_with(graph: Graph, start: Iterable[Node]) -> dict[Node, Link | None]:
    """Everything that falls when `start` is compromised, each with the link over which it fell.

    No further flaw is needed than one that crosses a shared kernel: whoever holds a kernel or a machine holds
    what runs on it, whoever holds a pod holds its token and mounts. Connections are not followed: they expose,
    they do not fell.
    """
    fallen: dict[Node, Link | None] = dict.fromkeys(start)
    queue = list(fallen)
    while queue:
        node = queue.pop()
        for link, reached in _spread(graph, node):
            if reached not in fallen:
                fallen[reached] = link
                queue.append(reached)
    return fallen


def _spread(graph: Graph, node: Node) -> Iterator[tuple[Link, Node]]:
    for edge in (Edge.CAN_ASSUME, Edge.CAN_READ, Edge.SHARES_KERNEL):
        for link in graph.out(node, edge):
            yield link, link.target
    if node.kind is Kind.WORKLOAD:
        for link in graph.out(node, Edge.RUNS_ON):
            yield link, link.target
    # Downwards: what runs on a fallen kernel, machine or pod.
    for link in graph.into(node, Edge.RUNS_ON):
        yield link, link.source
