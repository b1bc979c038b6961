"""The estate as it is: read from the stack's state and the cluster's objects, never from platform.yaml.

Plain data in, an Estate out, so that recorded platforms can be tested without a running one; `live.py` fetches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from infra.insight.aws_ground import aws_ground, is_on_aws
from infra.insight.cluster import KINDS, Cluster, Objects
from infra.insight.estate import OPEN, Connection, Estate, Listener, Machine, Role, Unit
from infra.insight.ground import Ground
from infra.insight.local_ground import local_ground
from infra.insight.network_policy import Endpoint, Object, covers
from infra.spec import Runtime


def deployed(outputs: Mapping[str, Any], resources: Iterable[Object], objects: Objects | None) -> Estate:
    """The estate of one stack.

    Args:
        outputs: the stack's outputs; `machines` and `inventory` are read.
        resources: the resources of `pulumi stack export`.
        objects: the cluster's objects by kind (see KINDS); of secrets only their names are needed. None if nobody
            looked into the cluster.
    """
    resources = list(resources)
    if is_on_aws(resources):
        ground = aws_ground(outputs, resources, None if objects is None else objects.get("nodes", ()))
    else:
        ground = local_ground(outputs, resources)
    nodes = {machine.name for machine in ground.machines}
    cluster = Cluster({kind: [] for kind in KINDS} if objects is None else objects, nodes)
    units = (*ground.units, *cluster.units())
    listeners = (*_machine_listeners(ground), *cluster.listeners())
    connections = tuple(dict.fromkeys(_connections(ground, cluster, listeners)))
    workloads = {unit.workload for unit in units}
    return Estate(
        origin="deployed",
        machines=ground.machines,
        units=units,
        connections=connections,
        dependencies=tuple(
            dict.fromkeys((c.source, c.destination) for c in connections if c.source in workloads and c.through != OPEN)
        ),
        listeners=listeners,
        roles=(*(_with_the_cluster(role, ground, cluster) for role in ground.roles), *cluster.roles()),
        tokens=tuple(dict.fromkeys(cluster.tokens())),
        cluster_secrets=tuple(cluster.secrets),
        unseen=ground.unseen,
    )


def _with_the_cluster(role: Role, ground: Ground, cluster: Cluster) -> Role:
    """The role with the cluster in its hands, if the cluster says so."""
    if role.name not in ground.cluster_admins:
        return role
    enters = tuple(dict.fromkeys(unit.workload for unit in cluster.units()))
    return replace(role, secrets=(*role.secrets, *cluster.secrets), enters=enters)


def _machine_listeners(ground: Ground) -> Iterator[Listener]:
    for unit in ground.units:
        for rule in ground.firewalls.get(unit.machine, ()):
            for wall in (f"nftables of {unit.machine}", *ground.entries(unit.machine, rule.port)):
                yield Listener(unit.workload, rule.port, wall)


def _connections(ground: Ground, cluster: Cluster, listeners: Iterable[Listener]) -> Iterator[Connection]:
    for target in ground.units:
        yield from _to_machine(ground, cluster, target)
    for workload, port in dict.fromkeys((listener.workload, listener.port) for listener in listeners):
        yield from _to_pods(ground, cluster, workload, port)


def _to_machine(ground: Ground, cluster: Cluster, target: Unit) -> Iterator[Connection]:
    units = (*ground.units, *cluster.units())
    destination = Endpoint(ground.addresses[target.machine][0])
    for rule in ground.firewalls.get(target.machine, ()):
        nftables = f"nftables of {target.machine}"
        for machine in ground.machines:
            if machine.name == target.machine or not covers(rule.sources, ground.addresses[machine.name]):
                continue
            wall = ground.walls(machine.name, target.machine, rule.port)
            if wall is not None:
                yield from _from_machine(machine, units, target.workload, rule.port, _joined(wall, nftables))
        for source in cluster.endpoints:
            node = source.unit.machine
            wall = ground.walls(node, target.machine, rule.port)
            seen_as = (source.endpoint.address, *ground.addresses[node])
            if wall is None or not covers(rule.sources, seen_as):
                continue
            if cluster.admits(source.endpoint, destination, rule.port):
                through = _joined("egress policy", wall, nftables)
                yield Connection(source.unit.workload, target.workload, rule.port, through)


def _to_pods(ground: Ground, cluster: Cluster, workload: str, port: int) -> Iterator[Connection]:
    units = (*ground.units, *cluster.units())
    published = cluster.published(workload).get(port, set())
    for target in cluster.endpoints:
        if target.unit.workload != workload:
            continue
        node = target.unit.machine
        for source in cluster.endpoints:
            if source.unit.workload == workload or not cluster.admits(source.endpoint, target.endpoint, port):
                continue
            # Between pods of one node no packet leaves it, so no wall between machines is asked.
            wall = "" if source.unit.machine == node else ground.walls(source.unit.machine, node, port)
            if wall is not None:
                yield Connection(source.unit.workload, workload, port, _joined("network policies", wall))
        for machine in ground.machines:
            # A node speaks for the cluster itself, and network policies let a node reach its own pods.
            if machine.is_node or not cluster.admits(Endpoint(machine.address), target.endpoint, port):
                continue
            if any(ground.walls(machine.name, node, entry) is not None for entry in published):
                yield from _from_machine(machine, units, workload, port, OPEN)
            elif ground.pods_are_routable:
                wall = ground.walls(machine.name, node, port)
                if wall is not None:
                    yield from _from_machine(machine, units, workload, port, _joined("network policies", wall))


def _from_machine(
    machine: Machine, units: Iterable[Unit], destination: str, port: int, through: str
) -> Iterator[Connection]:
    """A connection that a machine may make is its workload's, if it runs one itself, else that of whoever holds it."""
    own = [unit.workload for unit in units if unit.machine == machine.name and unit.runtime is Runtime.VM]
    for source in own or [machine.name]:
        if source != destination:
            yield Connection(source, destination, port, through)


def _joined(*walls: str) -> str:
    return " and ".join(wall for wall in walls if wall)
