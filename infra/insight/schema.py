"""What report.json says, and the JSON Schema of it.

`version` is raised when something is removed or changes its meaning, not when something is added.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from infra.insight.blast import Loss
from infra.insight.cost import Cost
from infra.insight.estate import Connection, Machine, Unit
from infra.insight.usage import Proposal
from infra.spec import Runtime

VERSION = 1
SCHEMA = Path("docs/report.schema.json")
_CLOSED = ConfigDict(extra="forbid")
State = Literal["current", "expires soon", "expired"]


class Reason(TypedDict):
    """`verdict` is what the rule's word meant for the decision; `supports`, whether it spoke for it."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    rule: str
    text: str
    source: str
    quote: str
    verdict: str
    supports: bool


class Option(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    runtime: Runtime
    score: int
    vetoed_by: list[str]


class Flip(TypedDict):
    """An answer whose change alone would move the workload."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    question: str
    answer: str
    instead: str
    moves_to: Runtime


class Decision(TypedDict):
    """`margin` is null where vetoes left no other option; `inputs` is the digest in the decision record."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    name: str
    description: str
    runtime: Runtime
    reasons: list[Reason]
    options: list[Option]
    margin: int | None
    tied_with: list[Runtime]
    flips_with: list[Flip]
    preconditions: list[str]
    review_on: date | None
    review_overdue: bool
    inputs: str


class Call(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    workload: str
    ports: list[int]


class Drawn(TypedDict):
    """What the picture shows of a workload."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    workload: str
    runtime: Runtime
    copies: int
    machines: list[str]
    kernel: str
    public: bool
    calls: list[Call]


class Drift(TypedDict):
    """Where what is deployed differs from what was decided, in words."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    placement: list[str]
    open_but_not_meant: list[str]
    meant_but_closed: list[str]


class Radius(TypedDict):
    """What falls with a compromised workload.

    `falls`: other workloads, each with the way it falls. `exposed`: those that stand, but can be talked to.
    `bought`: what would fall besides in a plain container; null where it is one. The last two: the same behind real
    VMs, where stand-ins are deployed.
    """

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    workload: str
    runtime: Runtime
    size: int
    falls: dict[str, str]
    exposed: list[str]
    machines: list[str]
    secrets: list[str]
    volumes: list[str]
    bought: list[str] | None
    behind_real_walls: list[str]
    bought_behind_real_walls: list[str] | None


class Checked(TypedDict):
    """Predictions beside what happened; null or empty where nobody tried."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    connections: dict[str, Any] | None
    lost: list[dict[str, Any]]
    noisy: list[dict[str, Any]]


class PriceSource(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    day: date
    where: str


class Image(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    name: str
    built: datetime | None
    expires: datetime | None
    age_days: int | None
    days_left: int | None
    state: State | Literal["unknown"]
    packages: int
    machines: list[str]


class Score(TypedDict):
    """`of` names the machine that was scanned: this one, or one of the same release and driver."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    value: float
    scan: str
    day: date
    of: str


class Host(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    name: str
    patched_days_ago: int | None
    patched_by: str | None
    score: Score | None


class Recorded(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    machine: str
    scan: str
    stock: float
    hardened: float
    day: date


class Waiver(TypedDict):
    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    rule: str
    owner: str
    reason: str
    expires: date
    days_left: int
    state: State


class Attention(TypedDict):
    """What to look at first; `section` is where the page says more."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    level: Literal["bad", "warn", "unknown"]
    text: str
    section: str


class Report(TypedDict):
    """All that the page shows. `unseen` says what could not be looked at; `stack` is null for a plan."""

    __pydantic_config__ = _CLOSED  # type: ignore[misc]
    version: Annotated[int, Field(ge=VERSION, le=VERSION)]
    platform: str
    written: datetime
    origin: Literal["planned", "deployed"]
    stack: str | None
    workloads: list[Decision]
    machines: list[Machine]
    units: list[Unit]
    connections: list[Connection]
    picture: list[Drawn]
    unseen: str
    stand_ins: list[str]
    drift: Drift
    blast_radius: list[Radius]
    over_budget: list[str]
    losses: list[Loss]
    checked: Checked
    cost: dict[str, Any]
    right_sizing: list[Proposal]
    images: list[Image]
    hosts: list[Host]
    scores: list[Recorded]
    waivers: list[Waiver]
    attention: list[Attention]


def schema_text() -> str:
    schema = TypeAdapter(Report).json_schema()
    cost = TypeAdapter(Cost).json_schema()
    definitions = schema["$defs"] | cost.pop("$defs")
    sources: dict[str, Any] = {"type": "array", "items": TypeAdapter(PriceSource).json_schema()}
    cost["properties"] |= {
        "currency": {"type": "string"},
        "sources": sources,
        "stale": {"type": "object", "additionalProperties": {"type": "string", "format": "date"}},
    }
    cost["required"] = [*cost["required"], "currency", "sources", "stale"]
    schema["properties"]["cost"] = {"$ref": "#/$defs/Cost"}
    # Dataclasses become objects of just their fields, every one of which is written.
    for name, described in (definitions | {"Cost": cost}).items():
        if described.get("type") == "object":
            described |= {"additionalProperties": False, "required": list(described["properties"])}
        definitions[name] = described
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Written by `python -m infra.insight report --write-schema` from infra/insight/schema.py.",
    }
    return (
        json.dumps({**head, **schema, "$defs": definitions, "title": "report.json"}, indent=2, ensure_ascii=False)
        + "\n"
    )
