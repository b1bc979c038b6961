"""What the estate costs: a VM a workload against containers packed on nodes, and where the one beats the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from infra.placement import Plan, Runtime
from infra.spec.models import Resources

PRICES = Path(__file__).with_name("prices.yaml")
_GIB = 2**30
MOST_COPIES = 1000


class Reserve(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    vm: Resources
    node: Resources
    sandbox: Resources


class Source(BaseModel):
    """Where a price was read, and of which day it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: date
    where: str


class Price(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    price: float
    source: str


class MachineType(Price):
    cpu: int
    gib: int


class Prices(BaseModel):
    """The dated price table, prices.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: str
    hours_a_month: int
    stale_after_days: int
    sources: dict[str, Source]
    control_plane: Price
    disk: Price
    machines: dict[str, MachineType]
    reserve: Reserve

    @model_validator(mode="after")
    def _every_price_has_its_source(self) -> Self:
        priced = {"control_plane": self.control_plane, "disk": self.disk, **self.machines}
        unknown = [name for name, price in priced.items() if price.source not in self.sources]
        if unknown:
            raise ValueError(f"no source is known for the price of {', '.join(unknown)}")
        return self

    def stale(self, today: date) -> dict[str, Source]:
        """What is priced by a source that is too old, with that source."""
        priced = {"the control plane": self.control_plane, "disks": self.disk, **self.machines}
        found = {name: self.sources[price.source] for name, price in priced.items()}
        return {name: source for name, source in found.items() if (today - source.day).days > self.stale_after_days}

    def month(self, machine: str) -> float:
        return self.machines[machine].price * self.hours_a_month

    @property
    def control_plane_month(self) -> float:
        return self.control_plane.price * self.hours_a_month


@cache
def price_table() -> Prices:
    return Prices.model_validate(yaml.safe_load(PRICES.read_text(encoding="utf-8")))


def staleness(stale: Mapping[str, str]) -> str:
    """What to think of prices that are too old, from the days of their sources."""
    first, day = min(stale.items(), key=lambda one: one[1])
    if len(stale) == 1:
        return f"the price of {first} is stale, of {day}: compare with it, do not budget with it"
    return f"{len(stale)} prices are stale, the oldest of {day}: compare with them, do not budget with them"


@dataclass(frozen=True)
class Need:
    """What one copy of a workload asks for: CPUs and bytes."""

    workload: str
    cpu: float
    memory: int

    def plus(self, reserve: Resources) -> Need:
        return Need(self.workload, self.cpu + reserve.cpu, self.memory + reserve.memory)


@dataclass(frozen=True)
class Nodes:
    """The cheapest packing that was found.

    Attributes:
        density: pods a node, on average.
        month: nodes and control plane.
    """

    machine: str
    count: int
    pods: int
    month: float

    @property
    def density(self) -> float:
        return self.pods / self.count


@dataclass(frozen=True)
class Cost:
    """One estate, three ways.

    Attributes:
        vms: (workload, machine type, copies, month) of each workload that was placed on VMs.
        nodes: what the others are packed on; None without any.
        month: as decided.
        all_vms_month: with a VM for each copy of each workload.
        break_even: from how many copies of the elastic workloads' average on a cluster is cheaper; None if never.
        too_large: workloads that fit no machine of the table.
    """

    vms: tuple[tuple[str, str, int, float], ...]
    nodes: Nodes | None
    disks_month: float
    month: float
    all_vms_month: float
    break_even: int | None
    too_large: tuple[str, ...]


def cost(plan: Plan, prices: Prices) -> Cost:
    on_vms, elastic, too_large = [], [], []
    all_vms = 0.0
    for name, workload in plan.spec.workloads.items():
        need, copies = Need(name, workload.resources.cpu, workload.resources.memory), max(workload.replicas, 1)
        machine = _cheapest(need.plus(prices.reserve.vm), prices)
        if machine is None:
            too_large.append(name)
            continue
        all_vms += prices.month(machine) * copies
        runtime = plan.placement(name).runtime
        if runtime is Runtime.VM:
            on_vms.append((name, machine, copies, prices.month(machine) * copies))
        else:
            elastic += [need.plus(prices.reserve.sandbox) if runtime is Runtime.MICROVM else need] * copies
    nodes = pack(elastic, prices) if elastic else None
    gib = sum(w.resources.disk * max(w.replicas, 1) for w in plan.spec.workloads.values()) / _GIB
    disks = gib * prices.disk.price
    return Cost(
        tuple(on_vms),
        nodes,
        disks,
        sum(month for *_, month in on_vms) + (nodes.month if nodes else 0) + disks,
        all_vms + disks,
        _break_even(elastic, prices),
        tuple(too_large),
    )


def pack(pods: Sequence[Need], prices: Prices) -> Nodes | None:
    """Pack pods on equal nodes by first fit, largest first, for each type of node; the cheapest type wins."""
    packings = []
    for machine, room in _rooms(prices):
        count = _first_fit(pods, room)
        if count:
            month = count * prices.month(machine) + prices.control_plane_month
            packings.append(Nodes(machine, count, len(pods), month))
    return min(packings, key=lambda nodes: (nodes.month, nodes.count), default=None)


def _first_fit(pods: Iterable[Need], room: tuple[float, float]) -> int | None:
    """How many nodes with so much room the pods need; None if one of them fits on none."""
    pods = list(pods)
    least = min((pod.cpu for pod in pods), default=0), min((pod.memory for pod in pods), default=0)
    free: list[tuple[float, float]] = []
    full = 0
    for pod in sorted(pods, key=lambda p: (p.memory / room[1] if room[1] > 0 else 0, p.cpu), reverse=True):
        if pod.cpu > room[0] or pod.memory > room[1]:
            return None
        for index, (cpu, memory) in enumerate(free):
            if pod.cpu <= cpu and pod.memory <= memory:
                free[index] = cpu - pod.cpu, memory - pod.memory
                if free[index][0] < least[0] or free[index][1] < least[1]:
                    # Nothing more fits: it is not looked at again, or thousands of pods would look at every node.
                    del free[index]
                    full += 1
                break
        else:
            free.append((room[0] - pod.cpu, room[1] - pod.memory))
    return full + len(free)


def _cheapest(need: Need, prices: Prices) -> str | None:
    fitting = [
        (size.price, name)
        for name, size in prices.machines.items()
        if need.cpu <= size.cpu and need.memory <= size.gib * _GIB
    ]
    return min(fitting)[1] if fitting else None


def _break_even(elastic: Sequence[Need], prices: Prices) -> int | None:
    if not elastic:
        return None
    average = Need(
        "average",
        sum(pod.cpu for pod in elastic) / len(elastic),
        sum(pod.memory for pod in elastic) // len(elastic),
    )
    machine = _cheapest(average.plus(prices.reserve.vm), prices)
    if machine is None:
        return None

    def is_cheaper(copies: int) -> bool:
        nodes = min((count(copies) * month for count, month in sizes), default=None)
        return nodes is not None and nodes + prices.control_plane_month < copies * prices.month(machine)

    sizes = [
        (partial(_nodes_of_equals, average, room), prices.month(name))
        for name, room in _rooms(prices)
        if average.cpu <= room[0] and average.memory <= room[1]
    ]
    return next((copies for copies in range(1, MOST_COPIES) if is_cheaper(copies)), None)


def _rooms(prices: Prices) -> Iterator[tuple[str, tuple[float, float]]]:
    """What a node of each type has for pods: CPUs and bytes."""
    for machine, size in prices.machines.items():
        yield machine, (size.cpu - prices.reserve.node.cpu, size.gib * _GIB - prices.reserve.node.memory)


def _nodes_of_equals(pod: Need, room: tuple[float, float], copies: int) -> int:
    """Where all pods are equal nothing has to be packed."""
    return -(-copies // int(min(room[0] / pod.cpu, room[1] / pod.memory)))
