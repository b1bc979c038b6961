"""python -m infra.placement: show the decisions, keep their records current, plan a migration."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path

from rich.table import Table

from infra.cli import add_spec_argument, day, err, fail, out, plan_of, runtime_text, told_in_one_line
from infra.placement import Plan, adr, migration


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.placement", description="Where each workload runs, and why.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="print each placement with its reasons and what would flip it")
    show.add_argument("--json", action="store_true", help="print everything as JSON")
    show.set_defaults(run=_show)

    decisions = commands.add_parser("decisions", help="write the decision records")
    decisions.add_argument("--directory", type=Path, default=Path("docs/decisions"), help="where (%(default)s)")
    decisions.add_argument("--check", action="store_true", help="change nothing; fail where a record is stale")
    decisions.add_argument("--strict", action="store_true", help="fail where a review date has passed, too")
    decisions.add_argument("--today", type=day, default=date.today(), metavar="DATE", help="instead of today's date")
    decisions.set_defaults(run=_decisions)

    migration_plan = commands.add_parser("migration", help="print the plan from `runs_on` to the decisions")
    migration_plan.add_argument("--output", type=Path, help="write it to this file instead")
    migration_plan.set_defaults(run=_migration)

    for command in (show, decisions, migration_plan):
        add_spec_argument(command)
    arguments = parser.parse_args()
    with told_in_one_line(adr.RecordError):
        arguments.run(plan_of(arguments.spec), arguments)


def _show(plan: Plan, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps([asdict(placement) for placement in plan.placements], indent=2, default=str))
        return
    table = Table("workload", "runs on", "because", "margin", "one answer that would flip it", "review")
    for placement in plan.placements:
        flips = [f"{f.question}: {f.instead} → {f.moves_to.value}" for f in placement.flips_with]
        tie = f"tie with {', '.join(r.value for r in placement.tied_with)}" if placement.tied_with else ""
        table.add_row(
            placement.workload,
            runtime_text(placement.runtime),
            placement.reasons[0].text,
            tie or ("vetoed" if placement.margin is None else str(placement.margin)),
            "\n".join(flips) or "none alone",
            str(placement.review_on or "–"),
        )
    out.print(table)


def _decisions(plan: Plan, arguments: argparse.Namespace) -> None:
    changed = (adr.stale if arguments.check else adr.write)(plan, arguments.directory)
    for name in changed:
        out.print(f"{arguments.directory / name}: {'is stale' if arguments.check else 'written'}")
    late = list(adr.overdue(plan, arguments.today))
    for placement in late:
        err.print(f"{placement.workload}: its review was due on {placement.review_on}; answer again, set decided_on")
    if arguments.check and changed:
        fail("The records do not say what platform.yaml says; run `make decisions` and review the difference.")
    if arguments.strict and late:
        sys.exit(1)
    if not changed:
        out.print("All decision records are current.")


def _migration(plan: Plan, arguments: argparse.Namespace) -> None:
    text = migration.render(plan)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
        out.print(f"{arguments.output}: written")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
