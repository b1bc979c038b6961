"""What platform.yaml may say.

Every field here is part of the public file format; the JSON Schema that editors use
(`docs/platform.schema.json`) is generated from these models.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)

from infra.spec.answers import Compliance, DeployFrequency, Isolation, Level, Runtime
from infra.spec.errors import Origin
from infra.spec.rules import OperatorRules

NAME = r"^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$"
IMAGE = r"^([a-z][a-z0-9-]{0,62}|[a-z0-9][A-Za-z0-9._:/-]{0,250}@sha256:[0-9a-f]{64})$"
PACKAGE = r"^[a-z][a-z0-9_]{0,62}$"
NO_NULL = r"^[^\x00]*$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,250}$"

Name = Annotated[str, StringConstraints(pattern=NAME)]
# YAML knows numbers and truth values: text that looks like one, or one for the other, is a slip.
Flag = Annotated[bool, Field(strict=True)]
Number = Annotated[int, Field(strict=True)]
Variable = Annotated[str, StringConstraints(pattern=VARIABLE)]
Port = Annotated[Number, Field(ge=1, le=65535)]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
OsRelease = Literal["debian-12", "debian-13"]

DEFAULT_OS: OsRelease = "debian-13"
"""The release of every golden image for which the spec asks nothing else."""

_BYTES = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_LARGEST = 64 * 2**40


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _parse_bytes(value: Any) -> Any:
    match = re.fullmatch(r"([0-9]{1,9})(MiB|GiB|TiB)", value) if isinstance(value, str) else None
    if not match:
        raise ValueError("is not a whole number followed by MiB, GiB or TiB")
    size = int(match[1]) * _BYTES[match[2]]
    if not 2**20 <= size <= _LARGEST:
        raise ValueError("is not between 1MiB and 64TiB")
    return size


def _no_number(value: Any) -> Any:
    """Or it would be taken for seconds since 1970."""
    if isinstance(value, (bool, int, float)):
        raise ValueError("is not a date, e.g. 2026-11-23")
    return value


def _in_our_time(day: date) -> date:
    """So that review dates stay in the calendar, too."""
    if not 2000 <= day.year < 3000:
        raise ValueError("is not between 2000 and 2999")
    return day


Bytes = Annotated[int, Field(json_schema_extra={"type": "string", "pattern": r"^[0-9]{1,9}(MiB|GiB|TiB)$"})]
Day = Annotated[date, BeforeValidator(_no_number), AfterValidator(_in_our_time)]


class Checklist(_Model):
    """The six answers that the article asks for before choosing."""

    isolation: Isolation = Field(description="Isolation requirement level")
    team_maturity: Level = Field(description="The owning team's platform engineering maturity")
    compliance: Compliance = Field(description="Compliance constraints")
    deploy_frequency: DeployFrequency = Field(description="Expected deploy frequency")
    multi_os: Flag = Field(description="Whether the workload needs an operating system of its own choice")
    orchestration_tolerance: Level = Field(description="Tolerance for orchestration complexity")


class Resources(_Model):
    cpu: Annotated[float, Field(strict=True, ge=0.01, le=128)] = Field(default=0.5, description="CPUs, e.g. 0.5")
    memory: Bytes = Field(default=256 * 2**20, description="e.g. 512MiB")
    disk: Bytes = Field(default=0, description="Persistent data, e.g. 10GiB; none when absent")

    _bytes = field_validator("memory", "disk", mode="before")(_parse_bytes)


class Force(_Model):
    """An operator's word against the scores; it never overrules a veto."""

    runtime: Runtime
    reason: Text


class Workload(_Model):
    """One workload and what it needs; never where it runs: that is decided."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["image"]}, {"required": ["package"]}]})

    description: str = ""
    image: Annotated[str, StringConstraints(pattern=IMAGE)] | None = Field(
        default=None, description="Container image (a name under workloads/, or name@sha256:…)"
    )
    package: Annotated[str, StringConstraints(pattern=PACKAGE)] | None = Field(
        default=None, description="Role that installs it on a machine, e.g. postgresql"
    )
    os: OsRelease = DEFAULT_OS
    stateful: Flag = False
    untrusted: Flag = Field(default=False, description="Runs code that the platform's owner did not write")
    full_os: Flag = Field(default=False, description="Expects full OS semantics (init, cron, local users)")
    ports: tuple[Port, ...] = ()
    public: Flag = Field(default=False, description="Reachable from outside the platform")
    talks_to: tuple[Name, ...] = ()
    resources: Resources = Resources()
    replicas: Annotated[Number, Field(ge=0, le=1000)] = 1
    environment: dict[Variable, Annotated[str, StringConstraints(pattern=NO_NULL)]] = Field(
        default_factory=dict, json_schema_extra={"additionalProperties": False}
    )
    checklist: Checklist
    force: Force | None = Field(default=None, description="Place it here whatever the scores say; vetoes still hold")
    runs_on: Runtime | None = Field(default=None, description="Where it runs today, for the migration plan")
    decided_on: Day | None = Field(default=None, description="When its answers were given, if not with the others")

    @model_validator(mode="after")
    def _image_or_package(self) -> Workload:
        if (self.image is None) == (self.package is None):
            raise ValueError("needs exactly one of image and package")
        return self


class MaturityAnswer(_Model):
    answer: Flag
    evidence: Annotated[str, StringConstraints(strip_whitespace=True)] = ""

    @model_validator(mode="after")
    def _yes_needs_evidence(self) -> MaturityAnswer:
        if self.answer and not self.evidence:
            raise ValueError("answer 'yes' needs evidence")
        return self


class Maturity(_Model):
    """The platform's own maturity; what the article says density and containers depend on."""

    observability: MaturityAnswer
    ci_cd: MaturityAnswer
    image_governance: MaturityAnswer
    scheduling_discipline: MaturityAnswer


class Budgets(_Model):
    """What no change may exceed."""

    blast_radius: dict[Runtime, Annotated[Number, Field(ge=0)]] = Field(
        default_factory=dict,
        description="How many other workloads may fall with one that runs on this runtime",
    )


def _number(value: Any) -> Any:
    """To Python `true` and 1.0 are 1."""
    if isinstance(value, (bool, float)):
        raise ValueError("is not 1")
    return value


class Spec(_Model):
    """The whole platform.yaml."""

    version: Annotated[Literal[1], BeforeValidator(_number)]
    name: Name
    decided_on: Day | None = Field(default=None, description="When the answers were given; review dates count from it")
    maturity: Maturity
    workloads: dict[Name, Workload] = Field(min_length=1)
    rules: OperatorRules = Field(default=OperatorRules(), description="Placement rules of this platform's operator")
    budgets: Budgets = Budgets()
    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """Where it was read from, so that what is found wrong later can still name its line."""
        return self._origin
