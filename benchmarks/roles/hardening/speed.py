"""How long hardening takes: this role, and os_hardening with ssh_hardening of devsec.hardening where it is installed.

    .venv/bin/python benchmarks/roles/hardening/speed.py [--collections DIRECTORY]

Each hardens a fresh stock Debian 13 machine of its own, twice; seconds are of the whole `ansible-playbook`. What is
compared is no part of this project: `ansible-galaxy collection install devsec.hardening --collections-path DIRECTORY`.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from stock_machine import Machine  # noqa: E402
from verdict import BenchmarkError, end_by  # noqa: E402

MACHINE = "debian-13-nspawn"
GOAL = 0.5


def harden_twice(playbook: str, collections: Path | None = None) -> list[tuple[float, int, int]]:
    """Seconds, changes and failures of the first and the second run on a fresh machine."""
    machine, runs = Machine(MACHINE), []
    machine.down()
    try:
        machine.up()
        machine.run("apt-get -qq update")  # devsec.hardening installs auditd without it
        for _ in range(2):
            begun = time.monotonic()
            told = machine.play(playbook, collections=collections, may_fail=True)
            took = time.monotonic() - begun
            recap = re.findall(r"\b(changed|failed|unreachable)=(\d+)", told.rpartition("PLAY RECAP")[2])
            counts = {name: int(number) for name, number in recap}
            if not counts or counts["unreachable"]:
                raise BenchmarkError(f"{playbook} did not run:\n{told[-3000:]}")
            runs.append((took, counts["changed"], counts["failed"]))
    finally:
        machine.down()
    return runs


def line(name: str, runs: list[tuple[float, int, int]]) -> str:
    cells = [f"{took:.0f} s, {changed} changed, {failed} failed" for took, changed, failed in runs]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> list[str]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", type=Path, help="where devsec.hardening is installed")
    arguments = parser.parse_args()
    print("| roles | first run | second run |\n|---|---|---|", flush=True)
    ours = harden_twice("speed-ours.yml")
    print(line("hybrid.platform.hardening", ours), flush=True)
    faults = [f"run {number} of ours failed" for number, run in enumerate(ours, start=1) if run[2]]
    faults += ["the second run of ours changed something"] if ours[1][1] else []
    if arguments.collections and (arguments.collections / "ansible_collections/devsec/hardening").is_dir():
        theirs = harden_twice("speed-devsec.yml", arguments.collections)
        print(line("devsec.hardening: os_hardening, ssh_hardening", theirs), flush=True)
        for number, (our, their) in enumerate(zip(ours, theirs, strict=True), start=1):
            if our[0] > GOAL * their[0]:
                faults.append(f"run {number} took {our[0] / their[0]:.2f} of their time, the goal is {GOAL}")
    else:
        print("\nskipped: devsec.hardening is not installed (--collections), so nothing is compared with it")
    return faults


if __name__ == "__main__":
    end_by(main)
