"""Architecture decision records: one a placement, in MADR form, kept current with the spec.

A record is rewritten in place while its workload stays where it is. When the workload moves, a new record is
written and the old one says by which it is superseded; when the workload goes, its record is deprecated.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
import yaml

from infra.placement.decide import rule_book
from infra.placement.facts import facts_of
from infra.placement.types import Placement, Plan, Reason, Runtime
from infra.spec.answers import QUESTIONS

NAMES = {Runtime.VM: "on a virtual machine", Runtime.MICROVM: "in a microVM", Runtime.CONTAINER: "in a container"}
REVISIT = "revisit the decision as your operational maturity grows"
INDEX = "README.md"

_FILE = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


@dataclass(frozen=True)
class Record:
    """One file under docs/decisions/."""

    number: str
    workload: str
    runtime: str
    status: str
    review: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.number}-{self.workload}.md"

    @property
    def is_accepted(self) -> bool:
        return self.status == "accepted"

    def with_status(self, status: str) -> Record:
        text = re.sub(r"(?m)^status: .*$", lambda _: f"status: {status}", self.text, count=1)
        return replace(self, status=status, text=text)


class RecordError(Exception):
    """A file under docs/decisions/ that this module did not write, or that was broken by hand."""


def wanted(plan: Plan, directory: Path) -> dict[str, str]:
    """Every file that the directory should hold: its name and its text."""
    records = {record.number: record for record in _read(directory)}
    current = {record.workload: record for record in records.values() if record.is_accepted}
    following = max((int(number) for number in records), default=0) + 1
    for placement in plan.placements:
        old = current.pop(placement.workload, None)
        if old and old.runtime == placement.runtime.value:
            records[old.number] = _record(plan, placement, old.number, _predecessor(records, old))
            continue
        number = f"{following:04}"
        following += 1
        records[number] = _record(plan, placement, number, old)
        if old:
            records[old.number] = old.with_status(f"superseded by {_link(records[number])}")
    for orphan in current.values():
        records[orphan.number] = orphan.with_status("deprecated (no longer in platform.yaml)")
    ordered = [records[number] for number in sorted(records)]
    files = {record.name: record.text for record in ordered}
    files[INDEX] = _template("index.md.j2").render(records=ordered)
    return files


def write(plan: Plan, directory: Path) -> list[str]:
    """Bring the directory up to date; returns the names of the files that changed."""
    changed = stale(plan, directory)
    files = wanted(plan, directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name in changed:
        (directory / name).write_text(files[name], encoding="utf-8")
    return changed


def stale(plan: Plan, directory: Path) -> list[str]:
    """The names of the files that are missing or say something else than the spec."""
    return [
        name
        for name, text in wanted(plan, directory).items()
        if not (directory / name).is_file() or (directory / name).read_text(encoding="utf-8") != text
    ]


def overdue(plan: Plan, today: date) -> Iterator[Placement]:
    """The placements whose review date has passed."""
    return (placement for placement in plan.placements if placement.review_on and placement.review_on < today)


def inputs_digest(plan: Plan, workload: str) -> str:
    """What a decision rests on, as one digest: the answers, the operator's rules and the rule book."""
    spec = plan.spec
    dated = spec.workloads[workload].decided_on or spec.decided_on
    force = spec.workloads[workload].force
    inputs = {
        "facts": facts_of(spec.workloads[workload], spec.maturity),
        "decided_on": dated.isoformat() if dated else None,
        "force": force.model_dump(mode="json") if force else None,
        "operator": spec.rules.model_dump(mode="json"),
        "book": rule_book().model_dump(mode="json"),
    }
    return "sha256:" + hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def verdict(reason: Reason, runtime: Runtime) -> str:
    """What a reason's word meant for the decision."""
    if reason.rule == "forced":
        return f"{runtime.value} is forced"
    if reason.is_veto:
        return f"rules out everything weaker than {reason.favours[0].value}"
    favoured = " and ".join(favourite.value for favourite in reason.favours)
    return f"+{reason.weight} for {favoured}" + ("" if runtime in reason.favours else ", which spoke against")


def sentence(clause: str) -> str:
    return clause[0].upper() + clause[1:]


def _record(plan: Plan, placement: Placement, number: str, supersedes: Record | None) -> Record:
    workload = plan.spec.workloads[placement.workload]
    text = _template("decision.md.j2").render(
        placement=placement,
        workload=workload,
        number=number,
        date=workload.decided_on or plan.spec.decided_on or "not dated",
        digest=inputs_digest(plan, placement.workload),
        facts=facts_of(workload, plan.spec.maturity),
        supersedes=_link(supersedes) if supersedes else None,
        verdict=verdict,
        sentence=sentence,
        NAMES=NAMES,
        QUESTIONS=QUESTIONS,
        REVISIT=REVISIT,
    )
    review = str(placement.review_on or "not dated")
    return Record(number, placement.workload, placement.runtime.value, "accepted", review, text)


def _predecessor(records: dict[str, Record], record: Record) -> Record | None:
    return next((r for r in records.values() if r.status == f"superseded by {_link(record)}"), None)


def _link(record: Record) -> str:
    return f"[{record.number}]({record.name})"


def _read(directory: Path) -> Iterator[Record]:
    for file in sorted(directory.glob("*.md")):
        match = _FILE.fullmatch(file.name)
        if not match:
            continue
        text = file.read_text(encoding="utf-8")
        try:
            header: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
            fields = {key: str(header[key]) for key in ("workload", "runtime", "status", "review")}
        except (IndexError, KeyError, TypeError, yaml.YAMLError):
            raise RecordError(f"{file}: has no header with workload, runtime, status and review") from None
        yield Record(number=match[1], text=text, **fields)


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown, not HTML
    )
    return environment.get_template(name)
