"""Requests against measured use: what each workload asks for, what it used, and what it should ask for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.placement import Plan

HEADROOM = 1.2
"""A proposal is the 95th percentile of what was measured, times this."""

ENOUGH_SAMPLES = 20
_MIB = 2**20


@dataclass(frozen=True)
class Samples:
    """What one copy of a workload used, sample by sample: CPUs and bytes."""

    cpu: tuple[float, ...]
    memory: tuple[int, ...]


@dataclass(frozen=True)
class Proposal:
    """What a workload should ask for.

    Attributes:
        wasted_memory, wasted_cpu: what all copies ask for beyond the proposal; negative where they ask for too little.
        is_certain: whether there are enough samples to act on.
    """

    workload: str
    cpu: float
    memory: int
    proposed_cpu: float
    proposed_memory: int
    wasted_cpu: float
    wasted_memory: int
    is_certain: bool


class UsageError(Exception):
    """A metrics export that cannot be read, in one line."""


def read_export(file: Path) -> dict[str, Samples]:
    """A metrics export: `{"<workload>": {"cpu": [CPUs, …], "memory": [bytes, …]}, …}`, samples of one copy."""
    try:
        exported = json.loads(file.read_text(encoding="utf-8"))
        return {name: _samples(values) for name, values in exported.items()}
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UsageError(f"{file}: is not a mapping of workloads to cpu and memory samples") from None


def _samples(values: Mapping[str, Any]) -> Samples:
    cpu, memory = (tuple(values[key]) for key in ("cpu", "memory"))
    if not cpu or not memory or not all(isinstance(value, (int, float)) for value in (*cpu, *memory)):
        raise ValueError
    return Samples(cpu, memory)


def proposals(plan: Plan, usage: Mapping[str, Samples]) -> tuple[Proposal, ...]:
    """A proposal for each workload of the plan that was measured."""
    result = []
    for name, workload in plan.spec.workloads.items():
        if name not in usage:
            continue
        samples, copies = usage[name], max(workload.replicas, 1)
        cpu = math.ceil(p95(samples.cpu) * HEADROOM * 100) / 100
        memory = max(math.ceil(p95(samples.memory) * HEADROOM / (16 * _MIB)), 1) * 16 * _MIB
        result.append(
            Proposal(
                name,
                workload.resources.cpu,
                workload.resources.memory,
                max(cpu, 0.01),
                memory,
                (workload.resources.cpu - max(cpu, 0.01)) * copies,
                (workload.resources.memory - memory) * copies,
                min(len(samples.cpu), len(samples.memory)) >= ENOUGH_SAMPLES,
            )
        )
    return tuple(result)


def p95(values: Sequence[float]) -> float:
    """The smallest value that at least 95 % of the samples do not exceed."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]
