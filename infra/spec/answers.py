"""The questions that a decision rests on, and the answers that each of them allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Isolation(str, Enum):
    """How strong the wall around the workload must be."""

    LOW = "low"
    MEDIUM = "medium"
    HARD = "hard"


class Level(str, Enum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Compliance(str, Enum):
    """NONE: no rule applies; INTERNAL: own policy; REGULATED: an auditor asks for a hypervisor boundary."""

    NONE = "none"
    INTERNAL = "internal"
    REGULATED = "regulated"


class DeployFrequency(str, Enum):
    RARELY = "rarely"
    MONTHLY = "monthly"
    WEEKLY = "weekly"
    DAILY = "daily"


class Runtime(str, Enum):
    """Where a workload can run, weakest wall first."""

    CONTAINER = "container"
    MICROVM = "microvm"
    VM = "vm"

    @property
    def strength(self) -> int:
        return _STRENGTH[self]


_STRENGTH = {runtime: strength for strength, runtime in enumerate(Runtime)}
_YES_NO = ("no", "yes")


@dataclass(frozen=True)
class Question:
    """One question about a workload or about the platform.

    Attributes:
        text: as a person would ask it.
        answers: what may be answered, least first.
        wall: more of it must never weaken a placement; the rules are held to that.
    """

    text: str
    answers: tuple[str, ...] = _YES_NO
    wall: bool = False


def _levels(answers: type[Enum]) -> tuple[str, ...]:
    return tuple(answer.value for answer in answers)


CHECKLIST = {
    "isolation": Question("Isolation requirement level?", _levels(Isolation), wall=True),
    "team_maturity": Question("Team's platform engineering maturity?", _levels(Level)),
    "compliance": Question("Compliance constraints?", _levels(Compliance), wall=True),
    "deploy_frequency": Question("Expected deploy frequency?", _levels(DeployFrequency)),
    "multi_os": Question("Need for multi-OS support?"),
    "orchestration_tolerance": Question("Tolerance for orchestration complexity?", _levels(Level)),
}
NEEDS = {
    "stateful": Question("Does it keep state?"),
    "untrusted": Question("Does it run code that the owner did not write?"),
    "full_os": Question("Does it expect a full operating system?"),
    "packaged": Question("Is it installed on a machine, rather than shipped as an image?"),
    "foreign_os": Question("Does it need another release than the platform's own?"),
    "public": Question("Is it reachable from outside the platform?"),
    "replicated": Question("Does it run as more than one copy?"),
}
MATURITY = {
    "observability": Question("Is every workload observed?"),
    "ci_cd": Question("Does every change go through CI/CD?"),
    "image_governance": Question("Are images built, pinned and traced by rule?"),
    "scheduling_discipline": Question("Are requests, limits and noisy neighbours under control?"),
}
# Not asked: it is yes when all four maturity answers are.
PLATFORM_MATURE = "platform_mature"
QUESTIONS = {
    **CHECKLIST,
    **NEEDS,
    **MATURITY,
    PLATFORM_MATURE: Question("Is the platform mature in all four respects?"),
}
