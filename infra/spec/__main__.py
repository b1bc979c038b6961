"""python -m infra.spec: say what is wrong with a platform.yaml, change nothing."""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.cli import out, plan_of, told_in_one_line
from infra.placement import deployable
from infra.spec import SpecError
from infra.spec.schema import SCHEMA, schema_text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m infra.spec", description="Validate a platform.yaml.")
    parser.add_argument("spec", type=Path, nargs="?", default=Path("platform.yaml"), help="the file (%(default)s)")
    parser.add_argument("--write-schema", action="store_true", help=f"write {SCHEMA} instead")
    arguments = parser.parse_args()
    with told_in_one_line(SpecError):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    if arguments.write_schema:
        SCHEMA.write_text(schema_text(), encoding="utf-8")
        out.print(f"{SCHEMA}: written")
        return
    plan = deployable(plan_of(arguments.spec))
    placed = ", ".join(f"{p.workload} → {p.runtime.value}" for p in plan.placements[:12])
    more = f" and {len(plan.placements) - 12} more" if len(plan.placements) > 12 else ""
    out.print(f"{arguments.spec} is valid: {placed}{more}")


if __name__ == "__main__":
    main()
