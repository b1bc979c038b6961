"""The decision: vetoes rule runtimes out, scores choose among what is left, ties go to the stronger wall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import yaml

from infra.placement.facts import condition, encode, facts_of, variations
from infra.placement.types import Flip, Option, Placement, Plan, Reason, Runtime
from infra.spec import OperatorRules, Score, Spec, Veto, Workload
from infra.spec.rules import RuleBook

RULES = Path(__file__).with_name("rules.yaml")
_SCALE = tuple(Runtime)


@cache
def rule_book() -> RuleBook:
    return RuleBook.model_validate(yaml.safe_load(RULES.read_text(encoding="utf-8")))


def place(spec: Spec, book: RuleBook | None = None) -> Plan:
    """Decide for every workload of the spec.

    Raises:
        SpecError: where a workload is forced onto a runtime that a veto rules out.
    """
    decider = _Decider(book or rule_book(), spec.rules)
    placements = []
    faults = []
    for name, workload in spec.workloads.items():
        facts = facts_of(workload, spec.maturity)
        placement = decider.decide(name, facts, workload.decided_on or spec.decided_on)
        if workload.force:
            option = next(o for o in placement.options if o.runtime is workload.force.runtime)
            if option.vetoed_by:
                faults.append((("workloads", name, "force", "runtime"), _refusal(option, placement)))
            placement = _forced(placement, workload)
        placements.append(placement)
    if faults:
        raise spec.origin.error(faults)
    return Plan(spec, tuple(placements))


def _refusal(option: Option, placement: Placement) -> str:
    floor = next(o.runtime for o in placement.options if not o.vetoed_by)
    reasons = "; ".join(f"{r.rule}: {r.text}" for r in placement.reasons if r.rule in option.vetoed_by)
    return f"{option.runtime.value} is forced, but only {floor.value} or stronger will do ({reasons})"


def _forced(placement: Placement, workload: Workload) -> Placement:
    assert workload.force
    reason = Reason("forced", workload.force.reason, "platform.yaml", favours=(workload.force.runtime,))
    return replace(
        placement,
        runtime=workload.force.runtime,
        reasons=(reason, *placement.reasons),
        margin=None,
        tied_with=(),
        flips_with=(),
    )


@dataclass(frozen=True)
class _Rule:
    """A rule ready to be asked often: whether it speaks, and what it then says.

    Attributes:
        points: what it gives to each runtime; nothing if it is a veto.
        floor: the weakest runtime that it allows.
    """

    allowed: int
    asked: int
    points: tuple[int, ...]
    floor: Runtime
    reason: Reason

    def speaks(self, mask: int) -> bool:
        return (mask & self.allowed).bit_count() == self.asked


def _veto(rule: Veto) -> _Rule:
    allows = tuple(runtime for runtime in _SCALE if runtime.strength >= rule.at_least.strength)
    reason = Reason(rule.name, rule.reason, rule.source, rule.quote, allows)
    return _Rule(*condition(rule.when), (0,) * len(_SCALE), rule.at_least, reason)


def _score(rule: Score) -> _Rule:
    reason = Reason(rule.name, rule.reason, rule.source, rule.quote, rule.favours, rule.weight)
    points = tuple(rule.weight if runtime in rule.favours else 0 for runtime in _SCALE)
    return _Rule(*condition(rule.when), points, Runtime.CONTAINER, reason)


class _Decider:
    """The rule book and the operator's rules; remembers what it has decided for equal answers."""

    def __init__(self, book: RuleBook, operator: OperatorRules) -> None:
        self._vetoes = [_veto(r) for r in (*book.vetoes, *operator.vetoes) if r.at_least is not Runtime.CONTAINER]
        self._scores = [_score(r) for r in (*book.scores, *operator.scores) if r.weight]
        self._preconditions = [(r.before, *condition(r.when), r) for r in book.preconditions]
        self._review = book.review_after_days
        self._runtimes: dict[int, Runtime] = {}
        self._decided: dict[int, Placement] = {}

    def decide(self, workload: str, facts: dict[str, str], decided_on: date | None) -> Placement:
        mask = encode(facts)
        placement = self._decided.get(mask)
        if placement is None:
            placement = self._decided[mask] = self._decide(facts, mask)
        return replace(placement, workload=workload, review_on=self._review_on(placement, decided_on))

    def _decide(self, facts: dict[str, str], mask: int) -> Placement:
        runtime = self._runtime(mask)
        vetoes = [rule for rule in self._vetoes if rule.speaks(mask)]
        scores = [rule for rule in self._scores if rule.speaks(mask)]
        options = tuple(
            Option(
                candidate,
                sum(rule.points[candidate.strength] for rule in scores),
                tuple(rule.reason.rule for rule in vetoes if rule.floor.strength > candidate.strength),
            )
            for candidate in _SCALE
        )
        chosen = options[runtime.strength]
        others = [option for option in options if option is not chosen and not option.vetoed_by]
        runner_up = max(others, key=lambda option: option.score, default=None)
        return Placement(
            workload="",
            runtime=runtime,
            reasons=_ordered(vetoes, scores, runtime, runner_up.runtime if runner_up else None),
            options=options,
            margin=chosen.score - runner_up.score if runner_up else None,
            tied_with=tuple(option.runtime for option in others if option.score == chosen.score),
            flips_with=self._flips(facts, mask, runtime),
            preconditions=tuple(
                Reason(rule.name, rule.reason, rule.source, rule.quote, rule.before)
                for before, allowed, asked, rule in self._preconditions
                if runtime in before and (mask & allowed).bit_count() == asked
            ),
        )

    def _runtime(self, mask: int) -> Runtime:
        """The decision alone. It is asked for every single changed answer, so equal answers are decided once."""
        runtime = self._runtimes.get(mask)
        if runtime is None:
            floor = max((rule.floor.strength for rule in self._vetoes if rule.speaks(mask)), default=0)
            totals = [0] * len(_SCALE)
            if floor < Runtime.VM.strength:
                for rule in self._scores:
                    if rule.speaks(mask):
                        totals = [total + points for total, points in zip(totals, rule.points, strict=True)]
            runtime = max(_SCALE[floor:], key=lambda r: (totals[r.strength], r.strength))
            self._runtimes[mask] = runtime
        return runtime

    def _flips(self, facts: dict[str, str], mask: int, runtime: Runtime) -> tuple[Flip, ...]:
        """For each question the nearest answers that would move the workload, one a destination."""
        flips: dict[tuple[str, Runtime], Flip] = {}
        for question, instead, changed in variations(facts, mask):
            moves_to = self._runtime(changed)
            if moves_to is not runtime:
                flips.setdefault((question, moves_to), Flip(question, facts[question], instead, moves_to))
        return tuple(flips.values())

    def _review_on(self, placement: Placement, decided_on: date | None) -> date | None:
        if decided_on is None:
            return None
        days = self._review.tie if placement.tied_with else self._review.score
        return decided_on + timedelta(days=days if placement.margin is not None else self._review.veto)


def _ordered(
    vetoes: list[_Rule], scores: list[_Rule], runtime: Runtime, runner_up: Runtime | None
) -> tuple[Reason, ...]:
    """What decided first: the vetoes if they left the scores no say in it, else what beat the runner-up."""

    def order(rule: _Rule) -> tuple[bool, bool, int]:
        favours = rule.reason.favours
        return runtime not in favours, runner_up in favours, -(rule.reason.weight or 0)

    by_strength = sorted(vetoes, key=lambda rule: -rule.floor.strength)
    by_weight = sorted(scores, key=order)
    vetoes_decided = any(rule.floor is runtime for rule in vetoes)
    ordered: Sequence[_Rule] = (*by_strength, *by_weight) if vetoes_decided else (*by_weight, *by_strength)
    return tuple(rule.reason for rule in ordered)
