"""One page for the wall, and the same as JSON: what runs where, why, what falls with what, what is about to run out.

`gather` makes plain data; `render` puts it into the page. Whatever is not known is said to be unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jinja2

from infra.insight import care
from infra.insight.attention import attention
from infra.insight.blast import Radius, loss, over_budget, radii, radius_of
from infra.insight.cost import cost, price_table
from infra.insight.drawing import drawings
from infra.insight.estate import OPEN, Estate, relocated
from infra.insight.evidence import Evidence
from infra.insight.live import Stack
from infra.insight.planned import planned
from infra.insight.schema import VERSION
from infra.insight.usage import Samples, proposals
from infra.placement import Placement, Plan, Runtime
from infra.placement.adr import inputs_digest, verdict
from infra.spec.answers import QUESTIONS

TEMPLATES = Path(__file__).with_name("templates")


def gather(
    plan: Plan,
    estate: Estate,
    stack: Stack | None = None,
    *,
    now: datetime,
    evidence: Evidence | None = None,
    usage: Mapping[str, Samples] | None = None,
) -> dict[str, Any]:
    """Everything that the page shows, as plain data: this is report.json, as schema.py describes it."""
    evidence = evidence or Evidence()
    data = {
        "version": VERSION,
        "platform": plan.spec.name,
        "written": now.isoformat(timespec="seconds"),
        "origin": estate.origin,
        "stack": stack.name if stack else None,
        "workloads": [_workload(plan, placement, now.date()) for placement in plan.placements],
        "machines": [asdict(machine) for machine in estate.machines],
        "units": [asdict(unit) for unit in estate.units],
        "connections": [asdict(connection) for connection in estate.connections],
        "picture": [_drawn(estate, workload) for workload in estate.workloads],
        "unseen": estate.unseen,
        "stand_ins": list(estate.stand_ins()),
        "drift": _drift(plan, estate),
        "blast_radius": _radii(estate),
        "over_budget": over_budget(plan, planned(plan)),
        "losses": [asdict(loss(estate, machine.name)) for machine in estate.machines],
        "checked": {
            "connections": evidence.connections,
            "lost": list(evidence.lost),
            "noisy": list(evidence.noisy),
        },
        "cost": costs(plan, now.date()),
        "right_sizing": [asdict(proposal) for proposal in proposals(plan, usage or {})],
        "images": care.images(stack, now),
        "hosts": care.machines(estate, stack, evidence, now),
        "scores": care.scores(evidence),
        "waivers": care.waivers(stack, evidence, now.date()),
    }
    return {**data, "attention": attention(data)}


def render(data: Mapping[str, Any], estate: Estate) -> str:
    """The page: one file that needs no network."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"bytes": _bytes, "money": lambda amount: f"{amount:,.2f}"}
    return environment.get_template("report.html.j2").render(
        report=data,
        drawings=drawings(estate, {radius["workload"]: radius["size"] for radius in data["blast_radius"]}),
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
        QUESTIONS=QUESTIONS,
    )


def _workload(plan: Plan, placement: Placement, today: date) -> dict[str, Any]:
    workload = plan.spec.workloads[placement.workload]
    return {
        "name": placement.workload,
        "description": workload.description,
        "runtime": placement.runtime.value,
        "reasons": [
            {
                "rule": reason.rule,
                "text": reason.text,
                "source": reason.source,
                "quote": reason.quote,
                "verdict": verdict(reason, placement.runtime),
                "supports": placement.runtime in reason.favours,
            }
            for reason in placement.reasons
        ],
        "options": [
            {"runtime": o.runtime.value, "score": o.score, "vetoed_by": list(o.vetoed_by)} for o in placement.options
        ],
        "margin": placement.margin,
        "tied_with": [runtime.value for runtime in placement.tied_with],
        "flips_with": [
            {"question": f.question, "answer": f.answer, "instead": f.instead, "moves_to": f.moves_to.value}
            for f in placement.flips_with
        ],
        "preconditions": [reason.text for reason in placement.preconditions],
        "review_on": str(placement.review_on) if placement.review_on else None,
        "review_overdue": bool(placement.review_on and placement.review_on < today),
        "inputs": inputs_digest(plan, placement.workload),
    }


def _drawn(estate: Estate, workload: str) -> dict[str, Any]:
    """What the picture shows of a workload."""
    units = estate.units_of(workload)
    machines = {unit.machine: estate.machine(unit.machine) for unit in units}
    shared = [machine.name for machine in machines.values() if machine.kernel != machine.name]
    in_container = any(unit.shares_kernel for unit in units)
    calls = [target for source, target in estate.dependencies if source == workload]
    edges = {(c.destination, c.port) for c in estate.connections if c.source == workload}
    return {
        "workload": workload,
        "runtime": units[0].runtime.value,
        "copies": len(units),
        "machines": list(machines),
        "kernel": ("the host's" if shared else "the node's" if in_container else "its own")
        if units[0].runtime is not Runtime.MICROVM
        else "the sandbox's",
        "public": any(c.destination == workload and c.through == OPEN for c in estate.connections),
        "calls": [{"workload": t, "ports": sorted(port for name, port in edges if name == t)} for t in calls],
    }


def _radii(estate: Estate) -> list[dict[str, Any]]:
    """Each radius, what would fall behind real walls, and what the placement bought: what would fall besides if it ran
    in a plain container."""
    real = estate.behind_real_walls()
    found = radii(estate)
    behind_real_walls = found if real == estate else radii(real)
    rows = []
    for radius, behind in zip(found, behind_real_walls, strict=True):
        bought = _bought(radius, estate)
        row = {
            "exposed": list(radius.exposed),
            "bought": bought,
            "behind_real_walls": list(behind.falls),
            "bought_behind_real_walls": bought if real == estate else _bought(behind, real),
        }
        rows.append({**radius.to_json(), **row})
    return rows


def _bought(radius: Radius, estate: Estate) -> list[str] | None:
    if radius.runtime is Runtime.CONTAINER or not any(machine.is_node for machine in estate.machines):
        return None
    weaker = relocated(estate, [(radius.workload, Runtime.CONTAINER)])
    return sorted(set(radius_of(weaker, radius.workload).falls) - set(radius.falls))


def _drift(plan: Plan, estate: Estate) -> dict[str, list[str]]:
    """Where what is deployed differs from what was decided."""
    meant = planned(plan)
    decided = {placement.workload: placement.runtime for placement in plan.placements}
    elsewhere = [
        f"{unit.workload} runs as {unit.runtime.value} on {unit.machine}, decided is {decided[unit.workload].value}"
        for unit in estate.units
        if unit.workload in decided and unit.runtime is not decided[unit.workload]
    ]
    workloads = set(estate.workloads)
    # What nobody looked at is neither there nor missing.
    looked_for = {name for name in decided if name in workloads or not estate.unseen or decided[name] is Runtime.VM}
    missing = [f"{name} is not there" for name in decided if name in looked_for - workloads]
    unknown = [f"{name} was never decided" for name in estate.workloads if name not in decided]
    open_now = {(c.source, c.destination, c.port) for c in estate.connections if c.source in workloads}
    open_meant = {(c.source, c.destination, c.port) for c in meant.connections}
    # What is open to everybody is needed by nobody in particular: it may be closed to some.
    needed = {(c.source, c.destination, c.port) for c in meant.connections if c.through != OPEN}
    needed = {edge for edge in needed if {edge[0], edge[1]} <= looked_for}
    return {
        "placement": [*elsewhere, *missing, *unknown],
        "open_but_not_meant": [_arrow(edge) for edge in sorted(open_now - open_meant)],
        "meant_but_closed": [_arrow(edge) for edge in sorted(needed - open_now)],
    }


def _arrow(edge: tuple[str, str, int]) -> str:
    return f"{edge[0]} → {edge[1]}:{edge[2]}"


def costs(plan: Plan, today: date) -> dict[str, Any]:
    """What the plan costs, with the prices' sources and which of them are stale."""
    prices = price_table()
    return {
        **asdict(cost(plan, prices)),
        "currency": prices.currency,
        "sources": [{"day": str(source.day), "where": source.where} for source in prices.sources.values()],
        "stale": {name: str(source.day) for name, source in prices.stale(today).items()},
    }


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def write(directory: Path, data: Mapping[str, Any], page: str) -> Iterable[Path]:
    """Write report.html and report.json."""
    directory.mkdir(parents=True, exist_ok=True)
    html, plain = directory / "report.html", directory / "report.json"
    html.write_text(page, encoding="utf-8")
    plain.write_text(json.dumps(data, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    return html, plain
