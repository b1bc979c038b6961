"""The Plan: what crosses from the decision to the targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from infra.spec import Runtime, Spec, Workload

__all__ = ["Flip", "Flow", "Option", "Placement", "Plan", "Reason", "Runtime"]


@dataclass(frozen=True)
class Reason:
    """One rule's word on one workload.

    Attributes:
        rule: the rule's name in the rules file.
        text: what the reader is told.
        source: the passage of the article that the rule comes from.
        quote: the passage's own words.
        favours: the runtimes that the rule speaks for; of a veto, those that it still allows.
        weight: what its word counts; None for a veto, which is not weighed.
    """

    rule: str
    text: str
    source: str
    quote: str = ""
    favours: tuple[Runtime, ...] = ()
    weight: int | None = None

    @property
    def is_veto(self) -> bool:
        return self.weight is None


@dataclass(frozen=True)
class Option:
    """One runtime as a candidate: its score, and the vetoes that rule it out."""

    runtime: Runtime
    score: int
    vetoed_by: tuple[str, ...]


@dataclass(frozen=True)
class Flip:
    """A single answer whose change would move the workload."""

    question: str
    answer: str
    instead: str
    moves_to: Runtime


@dataclass(frozen=True)
class Placement:
    """Where one workload runs, and why.

    Attributes:
        reasons: in the order in which the rules spoke; the first one decided, and those that spoke against
            the decision come last.
        options: every runtime, weakest wall first.
        margin: by how much the score beats the best of the other options that are left; None if none is left.
        tied_with: options with the same score; the strongest wall of a tie is taken.
        flips_with: every single answer whose change alone would move the workload.
        preconditions: what must be true before the workload moves there.
        review_on: when to decide again; None if the spec does not say when it was decided.
    """

    workload: str
    runtime: Runtime
    reasons: tuple[Reason, ...]
    options: tuple[Option, ...] = ()
    margin: int | None = None
    tied_with: tuple[Runtime, ...] = ()
    flips_with: tuple[Flip, ...] = ()
    preconditions: tuple[Reason, ...] = ()
    review_on: date | None = None


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
        return self._by_workload[workload]

    @cached_property
    def _by_workload(self) -> dict[str, Placement]:
        return {placement.workload: placement for placement in self.placements}

    def on(self, *runtimes: Runtime) -> dict[str, Workload]:
        """The workloads that run on one of these runtimes, in the spec's order."""
        return {p.workload: self.spec.workloads[p.workload] for p in self.placements if p.runtime in runtimes}

    def flows(self) -> Iterator[Flow]:
        for name, workload in self.spec.workloads.items():
            for peer in workload.talks_to:
                for port in self.spec.workloads[peer].ports:
                    yield Flow(name, peer, port)

    def callers_of(self, workload: str) -> tuple[str, ...]:
        """In the order of the file: the first one owns what a database holds."""
        return self._callers.get(workload, ())

    @cached_property
    def _callers(self) -> dict[str, tuple[str, ...]]:
        """Found once for all: asked one by one, a thousand workloads look at each flow a thousand times."""
        found: dict[str, dict[str, None]] = {}
        for flow in self.flows():
            found.setdefault(flow.destination, {})[flow.source] = None
        return {workload: tuple(callers) for workload, callers in found.items()}
