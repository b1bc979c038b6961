"""What the spec answers, as one integer a workload: one bit for each (question, answer) pair.

With it a rule speaks if the bits that it allows cover every question that it asks, which is one `&` and
one count. That keeps the recomputation behind `flips_with` cheap for estates of 10,000 workloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra.spec import DEFAULT_OS, Maturity, Workload
from infra.spec.answers import CHECKLIST, MATURITY, NEEDS, PLATFORM_MATURE, QUESTIONS

Facts = Mapping[str, str]

_BIT = {
    pair: 1 << index
    for index, pair in enumerate((question, answer) for question in QUESTIONS for answer in QUESTIONS[question].answers)
}
_ALL_OF = {question: sum(_BIT[question, a] for a in QUESTIONS[question].answers) for question in QUESTIONS}
_MATURE = sum(_BIT[question, "yes"] for question in MATURITY)
# The alternatives to each answer, nearest first: what `flips_with` tries.
_ALTERNATIVES: dict[tuple[str, str], tuple[tuple[str, int], ...]] = {}
for _question in (*CHECKLIST, *NEEDS, *MATURITY):
    _answers = QUESTIONS[_question].answers
    for _index, _answer in enumerate(_answers):
        _others = sorted((o for o in _answers if o != _answer), key=lambda o: abs(_answers.index(o) - _index))
        _ALTERNATIVES[_question, _answer] = tuple((other, _BIT[_question, other]) for other in _others)


def facts_of(workload: Workload, maturity: Maturity) -> dict[str, str]:
    """Every question with its answer."""
    checklist = workload.checklist
    facts = {
        "isolation": checklist.isolation.value,
        "team_maturity": checklist.team_maturity.value,
        "compliance": checklist.compliance.value,
        "deploy_frequency": checklist.deploy_frequency.value,
        "multi_os": _yes(checklist.multi_os),
        "orchestration_tolerance": checklist.orchestration_tolerance.value,
        "stateful": _yes(workload.stateful),
        "untrusted": _yes(workload.untrusted),
        "full_os": _yes(workload.full_os),
        "packaged": _yes(workload.package is not None),
        "foreign_os": _yes(workload.os != DEFAULT_OS),
        "public": _yes(workload.public),
        "replicated": _yes(workload.replicas > 1),
        "observability": _yes(maturity.observability.answer),
        "ci_cd": _yes(maturity.ci_cd.answer),
        "image_governance": _yes(maturity.image_governance.answer),
        "scheduling_discipline": _yes(maturity.scheduling_discipline.answer),
    }
    facts[PLATFORM_MATURE] = _yes(all(facts[question] == "yes" for question in MATURITY))
    return facts


def encode(facts: Facts) -> int:
    mask = 0
    for pair in facts.items():
        mask |= _BIT[pair]
    return mask


def condition(when: Mapping[str, tuple[str, ...]]) -> tuple[int, int]:
    """A rule's condition as (the bits that it allows, how many questions it asks)."""
    return sum(_BIT[question, answer] for question, answers in when.items() for answer in answers), len(when)


def variations(facts: Facts, mask: int) -> Iterator[tuple[str, str, int]]:
    """(question, other answer, the facts with it) for every change of a single answer."""
    for question, answer in facts.items():
        if question == PLATFORM_MATURE:
            continue
        rest = mask & ~_ALL_OF[question]
        for other, bit in _ALTERNATIVES[question, answer]:
            changed = rest | bit
            yield question, other, _with_maturity(changed) if question in MATURITY else changed


def _with_maturity(mask: int) -> int:
    answer = "yes" if mask & _MATURE == _MATURE else "no"
    return mask & ~_ALL_OF[PLATFORM_MATURE] | _BIT[PLATFORM_MATURE, answer]


def _yes(value: bool) -> str:
    return "yes" if value else "no"
