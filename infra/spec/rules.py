"""The form of a placement rule: the same in the platform's own rule book and in platform.yaml.

Two restrictions make one promise provable rather than hoped for: more isolation or compliance never
weakens a placement. A rule may speak of those two only as 'at least this' when it asks for stronger
walls and only as 'at most this' when it asks for weaker ones; and what a score favours is always one
end of the scale container < microvm < vm, never the middle alone.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from infra.spec.answers import QUESTIONS, Runtime

RULE_NAME = r"^[a-z]([a-z0-9-]{0,46}[a-z0-9])?$"
RuleName = Annotated[str, StringConstraints(pattern=RULE_NAME)]

_ANSWER = {"oneOf": [{"type": ["string", "boolean"]}, {"type": "array", "items": {"type": ["string", "boolean"]}}]}
_BOUND = {
    "type": "object",
    "properties": {"at_least": {"type": "string"}, "at_most": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
When = Annotated[
    dict[str, tuple[str, ...]],
    Field(
        description="All must hold. A question, and an answer, a list of answers, {at_least: …} or {at_most: …}",
        json_schema_extra={
            "additionalProperties": False,
            "properties": {
                name: {"description": question.text, "oneOf": [*_ANSWER["oneOf"], _BOUND]}
                for name, question in QUESTIONS.items()
            },
        },
    ),
]


def _answers(question: str, condition: Any) -> tuple[str, ...]:
    """The answers that satisfy one condition, in the question's order."""
    if question not in QUESTIONS:
        raise ValueError(f"{question!r} is not a question; there are {', '.join(QUESTIONS)}")
    allowed = QUESTIONS[question].answers
    bound = None
    if isinstance(condition, dict):
        if len(condition) != 1 or not condition.keys() <= {"at_least", "at_most"}:
            raise ValueError(f"{question}: needs exactly one of at_least and at_most")
        bound, condition = next(iter(condition.items()))
    given = list(condition) if isinstance(condition, (list, tuple)) else [condition]
    given = [{True: "yes", False: "no"}.get(answer, answer) if isinstance(answer, bool) else answer for answer in given]
    for answer in given:
        if answer not in allowed:
            raise ValueError(f"{question}: {answer!r} is not one of {', '.join(allowed)}")
    if not given:
        raise ValueError(f"{question}: needs at least one answer of {', '.join(allowed)}")
    if bound == "at_least":
        return allowed[allowed.index(given[0]) :]
    if bound == "at_most":
        return allowed[: allowed.index(given[0]) + 1]
    return tuple(answer for answer in allowed if answer in given)


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RuleName
    when: When = Field(default_factory=dict)
    reason: Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)] = Field(
        description="What the reader is told"
    )
    source: str = Field(default="platform.yaml", description="The passage that the rule comes from")
    quote: str = Field(default="", description="Its own words, short")

    @field_validator("when", mode="before")
    @classmethod
    def _normalise(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("is not a mapping of questions to answers")
        return {str(question): _answers(str(question), condition) for question, condition in value.items()}

    def _hold_to_the_walls(self, *, stronger: bool) -> None:
        for question, answers in self.when.items():
            allowed = QUESTIONS[question].answers
            end = allowed[len(allowed) - len(answers) :] if stronger else allowed[: len(answers)]
            if QUESTIONS[question].wall and answers != end:
                bound, asks = ("at_least", "stronger") if stronger else ("at_most", "weaker")
                raise ValueError(
                    f"when.{question}: a rule that asks for {asks} walls must say {{{bound}: …}}, "
                    f"or more {question} could weaken a placement"
                )


class Veto(_Rule):
    """Where it speaks, nothing weaker will do."""

    at_least: Runtime

    @model_validator(mode="after")
    def _monotone(self) -> Veto:
        self._hold_to_the_walls(stronger=True)
        return self


class Score(_Rule):
    """Where it speaks, each runtime that it favours gets its weight."""

    favours: tuple[Runtime, ...] = Field(min_length=1, max_length=2)
    weight: Annotated[int, Field(ge=0, le=100, strict=True)]

    @model_validator(mode="after")
    def _monotone(self) -> Score:
        scale = tuple(Runtime)
        favoured = tuple(runtime for runtime in scale if runtime in self.favours)
        if favoured not in (scale[: len(favoured)], scale[-len(favoured) :]):
            raise ValueError("favours: must start with container or end with vm, e.g. [container, microvm]")
        self._hold_to_the_walls(stronger=Runtime.VM in favoured)
        return self


class Precondition(_Rule):
    """What must be true before a workload moves to one of these runtimes."""

    before: tuple[Runtime, ...] = Field(min_length=1)


class OperatorRules(BaseModel):
    """Rules that a platform adds to the rule book, each with its reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vetoes: tuple[Veto, ...] = ()
    scores: tuple[Score, ...] = ()


class Review(BaseModel):
    """After how many days a decision is looked at again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tie: int = Field(gt=0)
    score: int = Field(gt=0)
    veto: int = Field(gt=0)


class RuleBook(BaseModel):
    """The platform's own rules (infra/placement/rules.yaml)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1]
    vetoes: tuple[Veto, ...]
    scores: tuple[Score, ...]
    preconditions: tuple[Precondition, ...]
    review_after_days: Review
