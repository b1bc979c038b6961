"""From VMs only (or any other today) to where the decisions want each workload: an ordered plan.

The order is the article's: walls that are too weak first, because they are a risk now; then governance and
observability; then stateless workloads, the ones that few depend on before the ones that many do; stateful ones
last, or never.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jinja2

from infra.placement.decide import place
from infra.placement.types import Placement, Plan, Runtime
from infra.spec import Maturity, Workload
from infra.spec.answers import MATURITY, QUESTIONS
from infra.spec.models import MaturityAnswer


@dataclass(frozen=True)
class Step:
    """One step of the plan.

    Attributes:
        entry: what must be true before it starts.
        how: what is done, in order.
        back: how to return to where one was.
    """

    title: str
    phase: str
    strategy: str
    entry: tuple[str, ...]
    how: tuple[str, ...]
    back: str


@dataclass(frozen=True)
class Stay:
    """A workload that does not move, and why."""

    workload: str
    runtime: Runtime
    why: str
    moves_if: tuple[str, ...]


@dataclass(frozen=True)
class Migration:
    steps: tuple[Step, ...]
    stays: tuple[Stay, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class _Foundation:
    """What a maturity answer stands for, and the precondition of the rule book that it fulfils."""

    title: str
    how: str
    fulfils: str


_FOUNDATIONS = {
    "image_governance": _Foundation(
        "Govern the images",
        "Build every image from a pinned base, scan it, and run it by digest only",
        "image-governance-first",
    ),
    "observability": _Foundation(
        "See every workload",
        "Give every workload health, metrics and logs, and an alert that a person has seen fire",
        "observability-first",
    ),
    "ci_cd": _Foundation(
        "Put every change through CI/CD",
        "Test each change in a pipeline that can also take it back",
        "ci-cd-first",
    ),
    "scheduling_discipline": _Foundation(
        "Discipline the scheduling",
        "Measure each workload for two weeks, set requests at p95 plus head-room, and set limits",
        "discipline-before-density",
    ),
}


def migration(plan: Plan) -> Migration:
    """The plan for every workload whose `runs_on` says where it runs today."""
    known = {name: workload for name, workload in plan.spec.workloads.items() if workload.runs_on is not None}
    matured = _once_mature(plan)
    moving = [p for p in plan.placements if p.workload in known and p.runtime is not known[p.workload].runs_on]
    urgent = [p for p in moving if _strength_today(known[p.workload]) < p.runtime.strength]
    planned = [p for p in moving if p not in urgent]
    later = [
        p
        for p in matured.placements
        if p.workload in known
        and plan.placement(p.workload) not in moving
        and p.runtime is not known[p.workload].runs_on
    ]
    foundations = _foundations(plan) if planned or later else []
    steps = [*(_stronger(plan, placement) for placement in urgent), *foundations]
    waiting_for = tuple(f"“{step.title}” is done" for step in foundations)
    pilot: str | None = None
    for placement in sorted([*planned, *later], key=lambda p: _risk(plan, p)):
        step = _move(plan, placement, waiting_for, pilot)
        pilot = pilot or step.title
        steps.append(step)
    stays = tuple(_stay(p) for p in plan.placements if p.workload in known and p not in moving)
    stays = tuple(stay for stay in stays if stay.workload not in {p.workload for p in later})
    return Migration(tuple(steps), stays, tuple(name for name in plan.spec.workloads if name not in known))


def _once_mature(plan: Plan) -> Plan:
    """The decisions as they will be when the foundations stand."""
    yes = MaturityAnswer(answer=True, evidence="the foundations of the migration plan")
    return place(plan.spec.model_copy(update={"maturity": Maturity(**dict.fromkeys(MATURITY, yes))}))


def render(plan: Plan) -> str:
    """The plan as a Markdown document."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown, not HTML
    )
    return environment.get_template("migration.md.j2").render(plan=migration(plan), name=plan.spec.name)


def _strength_today(workload: Workload) -> int:
    assert workload.runs_on is not None
    return workload.runs_on.strength


def _risk(plan: Plan, placement: Placement) -> tuple[bool, bool, int, int, str]:
    """Stateless before stateful, inside before public, few callers before many, clear decisions before close ones."""
    workload = plan.spec.workloads[placement.workload]
    callers = len(plan.callers_of(placement.workload))
    return workload.stateful, workload.public, callers, -(placement.margin or 0), placement.workload


def _foundations(plan: Plan) -> list[Step]:
    steps: list[Step] = []
    for question, foundation in _FOUNDATIONS.items():
        if getattr(plan.spec.maturity, question).answer:
            continue
        steps.append(
            Step(
                title=foundation.title,
                phase="foundations",
                strategy="on the machines of today; nothing moves",
                entry=tuple(f"“{step.title}” is done" for step in steps[-1:]),
                how=(
                    foundation.how,
                    f"Set maturity.{question} in platform.yaml to yes, with the evidence, and decide again",
                ),
                back="Nothing has moved yet: stop, and the estate is as it was",
            )
        )
    return steps


def _stronger(plan: Plan, placement: Placement) -> Step:
    workload = plan.spec.workloads[placement.workload]
    today = workload.runs_on
    assert today is not None
    return Step(
        title=f"{placement.workload}: {today.value} → {placement.runtime.value}",
        phase="walls that are too weak",
        strategy=_strategy(workload),
        entry=tuple(reason.text for reason in placement.preconditions),
        how=(
            f"It runs behind a weaker wall than it needs today, because {placement.reasons[0].text}",
            *_rollout(workload, placement.runtime),
        ),
        back=f"{_back(workload)}; the weaker wall is accepted again, with a date and a name",
    )


def _move(plan: Plan, placement: Placement, foundations: tuple[str, ...], pilot: str | None) -> Step:
    workload = plan.spec.workloads[placement.workload]
    assert workload.runs_on is not None
    covered = {foundation.fulfils for foundation in _FOUNDATIONS.values()}
    entry = list(foundations)
    entry += [reason.text for reason in placement.preconditions if reason.rule not in covered]
    if pilot:
        entry.append(f"“{pilot}” has held for two weeks, and its owner would do it again")
    if workload.stateful:
        entry.append("a restore of its data on the new platform has been tried and timed")
    return Step(
        title=f"{placement.workload}: {workload.runs_on.value} → {placement.runtime.value}",
        phase="stateful, last" if workload.stateful else "stateless" if pilot else "pilot",
        strategy=_strategy(workload),
        entry=tuple(entry),
        how=_rollout(workload, placement.runtime),
        back=_back(workload),
    )


def _strategy(workload: Workload) -> str:
    """Canary where a part of the traffic can be moved, else blue-green."""
    return "canary" if workload.replicas > 1 and not workload.stateful else "blue-green"


def _rollout(workload: Workload, runtime: Runtime) -> tuple[str, ...]:
    if workload.stateful:
        return (
            f"Run a replica in the new {runtime.value} and let it catch up",
            "Stop writes, compare both sides, promote the replica, point the callers to it",
            "Keep the old side as a replica for two weeks",
        )
    if _strategy(workload) == "canary":
        return (
            f"Run one copy in the new {runtime.value} beside the {workload.replicas} of today",
            "Give it 5 %, then 25 %, then all of the traffic, a day each, while errors and p99 stay as they were",
            "Remove the old copies a week later",
        )
    return (
        f"Run a complete second copy in the new {runtime.value} and try it without traffic",
        "Switch the callers over at once, at a quiet hour",
        "Keep the old copy stopped, but whole, for a week",
    )


def _back(workload: Workload) -> str:
    if workload.stateful:
        return "Promote the old side again: it has followed every write"
    if _strategy(workload) == "canary":
        return "Give all of the traffic to the old copies; nothing else has changed"
    return "Switch the callers back to the old copy and start it"


def _stay(placement: Placement) -> Stay:
    moves_if = tuple(f"{QUESTIONS[f.question].text} {f.instead} → {f.moves_to.value}" for f in placement.flips_with)
    return Stay(placement.workload, placement.runtime, placement.reasons[0].text, moves_if)
