"""The Plan: what crosses from the decision to the targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from infra.spec import Spec, Workload


class Runtime(str, Enum):
    """Where a workload can run, weakest wall first."""

    CONTAINER = "container"
    MICROVM = "microvm"
    VM = "vm"

    @property
    def strength(self) -> int:
        return list(Runtime).index(self)


@dataclass(frozen=True)
class Reason:
    """One rule's word on one workload.

    Attributes:
        rule: the rule's name in the rules file.
        text: what the reader is told.
        source: the passage of the article that the rule comes from.
    """

    rule: str
    text: str
    source: str


@dataclass(frozen=True)
class Placement:
    """Where one workload runs, and why.

    Attributes:
        reasons: in the order in which the rules spoke; the first one decided.
    """

    workload: str
    runtime: Runtime
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Flow:
    """A connection that the spec asks for; every other one is closed."""

    source: str
    destination: str
    port: int


@dataclass(frozen=True)
class Plan:
    """A validated spec with a placement for each of its workloads."""

    spec: Spec
    placements: tuple[Placement, ...]

    def placement(self, workload: str) -> Placement:
        return next(p for p in self.placements if p.workload == workload)

    def on(self, *runtimes: Runtime) -> dict[str, Workload]:
        """The workloads that run on one of these runtimes, in the spec's order."""
        return {p.workload: self.spec.workloads[p.workload] for p in self.placements if p.runtime in runtimes}

    def flows(self) -> Iterator[Flow]:
        for name, workload in self.spec.workloads.items():
            for peer in workload.talks_to:
                for port in self.spec.workloads[peer].ports:
                    yield Flow(name, peer, port)

    def callers_of(self, workload: str) -> tuple[str, ...]:
        return tuple(sorted({flow.source for flow in self.flows() if flow.destination == workload}))
