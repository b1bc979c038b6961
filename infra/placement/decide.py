"""The decision: the first rule that speaks places the workload; the others are told as further reasons."""

from __future__ import annotations

from collections.abc import Iterator

from infra.placement.types import Placement, Plan, Reason, Runtime
from infra.spec import DEFAULT_OS, Compliance, Isolation, Spec, Workload


def place(spec: Spec) -> Plan:
    return Plan(spec, tuple(_place(name, workload) for name, workload in spec.workloads.items()))


def _place(name: str, workload: Workload) -> Placement:
    votes = list(_votes(workload))
    runtime = max((runtime for runtime, _ in votes), key=lambda r: r.strength)
    deciding_first = sorted(votes, key=lambda vote: -vote[0].strength)
    return Placement(name, runtime, tuple(reason for _, reason in deciding_first))


def _votes(workload: Workload) -> Iterator[tuple[Runtime, Reason]]:
    answers = workload.checklist
    if answers.isolation is Isolation.HARD:
        yield Runtime.VM, Reason("hard-isolation", "needs hard isolation boundaries", "When to Choose VMs")
    if answers.compliance is Compliance.REGULATED:
        yield Runtime.VM, Reason("compliance", "compliance prefers hypervisor isolation", "When to Choose VMs")
    if answers.multi_os or workload.os != DEFAULT_OS:
        yield (
            Runtime.VM,
            Reason("foreign-os", f"needs an operating system of its own ({workload.os})", "When to Choose VMs"),
        )
    if workload.full_os or workload.package:
        yield Runtime.VM, Reason("full-os", "expects full OS semantics", "When to Choose VMs")
    if workload.stateful:
        yield Runtime.VM, Reason("stateful", "keeps state on proven foundations", "Pattern C")
    if workload.untrusted:
        yield (
            Runtime.MICROVM,
            Reason("untrusted", "runs code that the owner did not write", "Pattern B"),
        )
    yield Runtime.CONTAINER, Reason("default", "nothing asks for a stronger wall", "When to Choose Containers")
