"""What runs where and what may reach what: the facts that the graph is drawn from.

The same types hold what was meant (`planned.py`) and what is there (`deployed.py`), so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from infra.spec import Runtime

HOST = "host"
OPEN = "open to everybody"
"""What lets a connection pass to a public port: it says nothing about who needs it."""


@dataclass(frozen=True)
class Machine:
    """A machine that workloads or the cluster run on.

    Attributes:
        kernel: whose kernel it runs: its own name, or the host's where it is a stand-in for a VM.
        host: the physical machine below it, where that is known.
        volumes: disks that belong to no workload alone.
        cpus: how many processors it may use at most, where that is known.
        is_node: whether the cluster runs pods on it.
        pool: the group of equal nodes that it belongs to, where there are several.
        is_control_plane: whoever holds it holds the cluster and every secret in it.
        stand_in: what stands here for what, or an empty string.
    """

    name: str
    kernel: str
    driver: str = ""
    host: str = ""
    image: str = ""
    address: str = ""
    volumes: tuple[str, ...] = ()
    cpus: float | None = None
    is_node: bool = False
    pool: str = ""
    is_control_plane: bool = False
    stand_in: str = ""


@dataclass(frozen=True)
class Unit:
    """One running copy of a workload: a pod, or the service on a machine.

    Attributes:
        identity: the service account or role that it runs as.
        identity_mounted: whether it holds that identity's token.
        limited: whether its CPU use has a limit.
        stand_in: what stands here for what, or an empty string.
    """

    name: str
    workload: str
    runtime: Runtime
    machine: str
    image: str = ""
    identity: str = ""
    identity_mounted: bool = False
    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    limited: bool = True
    stand_in: str = ""

    @property
    def shares_kernel(self) -> bool:
        return self.runtime is Runtime.CONTAINER


@dataclass(frozen=True)
class Connection:
    """A connection that nothing refuses.

    Attributes:
        source: a workload, or a machine that carries workloads.
        through: the rule that lets it pass.
    """

    source: str
    destination: str
    port: int
    through: str


@dataclass(frozen=True)
class Role:
    """A role, of the cluster or of the cloud, with what it opens to its holders.

    Attributes:
        held_by: service accounts, and machines.
        secrets, volumes: what it can read.
        enters: workloads whose pods it may enter or make.
        commands: machines in which it may run what it likes.
        assumes: other roles that it may become.
    """

    name: str
    held_by: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    enters: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    assumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listener:
    """A port on which a workload answers, and the addresses at which it can be tried."""

    workload: str
    port: int
    firewall: str = ""


@dataclass(frozen=True)
class Estate:
    """Everything that one picture shows.

    Attributes:
        origin: 'planned' or 'deployed', for titles.
        dependencies: (workload, workload it needs).
        tokens: (machine, service account whose token lies on it), of pods that belong to no workload.
        unseen: what could not be looked at, in words.
    """

    origin: str
    machines: tuple[Machine, ...]
    units: tuple[Unit, ...]
    connections: tuple[Connection, ...]
    dependencies: tuple[tuple[str, str], ...]
    listeners: tuple[Listener, ...] = ()
    roles: tuple[Role, ...] = ()
    tokens: tuple[tuple[str, str], ...] = ()
    cluster_secrets: tuple[str, ...] = ()
    unseen: str = ""

    @property
    def workloads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(unit.workload for unit in self.units))

    def machine(self, name: str) -> Machine:
        return next(machine for machine in self.machines if machine.name == name)

    def units_of(self, workload: str) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if unit.workload == workload)

    def node_for(self, runtime: Runtime) -> Machine | None:
        """A node that could run one more workload: of the runtime's own pool, where there is one."""
        nodes = [machine for machine in self.machines if machine.is_node]
        return next((node for node in nodes if node.pool == runtime.value), nodes[0] if nodes else None)

    def behind_real_walls(self) -> Estate:
        """The same estate with each stand-in for a VM replaced by a VM."""
        return replace(self, machines=tuple(replace(m, kernel=m.name) if m.stand_in else m for m in self.machines))

    def stand_ins(self) -> tuple[str, ...]:
        """Each stand-in once, in words."""
        named = [f"{m.name}: {m.stand_in}" for m in self.machines if m.stand_in]
        named += [f"{u.workload}: {u.stand_in}" for u in self.units if u.stand_in]
        return tuple(dict.fromkeys(named))


def relocated(estate: Estate, moves: Iterable[tuple[str, Runtime]]) -> Estate:
    """The same estate with some workloads on other runtimes: each on a VM of its own, or on a node of the cluster.

    Raises:
        ValueError: if a workload is not in the estate, or there is no cluster to move to.
    """
    for workload, runtime in moves:
        units = estate.units_of(workload)
        if not units:
            raise ValueError(f"{workload} is not deployed; there are {', '.join(estate.workloads)}")
        others = tuple(unit for unit in estate.units if unit.workload != workload)
        left = {unit.machine for unit in units} - {unit.machine for unit in others}
        machines = tuple(m for m in estate.machines if m.name not in left or m.is_node)
        connections = tuple(c for c in estate.connections if c.source not in left)
        if runtime is Runtime.VM:
            names = [f"{workload}-{index}" for index in range(len(units))]
            machines += tuple(Machine(name, kernel=name, driver="what-if") for name in names)
        else:
            node = estate.node_for(runtime)
            if node is None:
                raise ValueError(f"there is no cluster that could run {workload}")
            names = [node.name] * len(units)
        moved = {
            unit: replace(unit, runtime=runtime, machine=machine, stand_in="")
            for unit, machine in zip(units, names, strict=True)
        }
        everywhere = tuple(moved.get(unit, unit) for unit in estate.units)
        estate = replace(estate, machines=machines, units=everywhere, connections=connections)
    return estate
