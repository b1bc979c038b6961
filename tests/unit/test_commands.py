"""The commands under infra/: a failure is one line and an exit code, never a traceback."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["infra.placement", "migration", "--output", "/nonexistent/plan.md"], 1, "/nonexistent/plan.md: No such file"),
        (["infra.placement", "decisions", "--directory", "/etc/hosts"], 1, "/etc/hosts: "),
        (["infra.placement", "decisions", "--today", "2026-13-01"], 2, "'2026-13-01' is not a day"),
        (["infra.placement", "show", "--spec", "/nonexistent"], 1, "/nonexistent:1: cannot be read: No such file"),
        (["infra.insight", "report", "--plan-only", "--output", "/etc/hosts"], 1, "/etc/hosts: File exists"),
        (["infra.insight", "cost", "--usage", "/etc/hosts"], 1, "is not a mapping of workloads to"),
        (["infra.insight", "compromised", "--place", "web=lambda"], 2, "with one of container, microvm, vm"),
        (["infra.insight", "compromised", "--place", "nobody=vm"], 1, "there are ledger, tariffs, web, worker"),
        (["infra.insight", "compromised", "--place", "web=vm", "--against", "x.yaml"], 2, "not allowed with argument"),
        (["infra.insight", "lost", "nothing"], 1, "nothing is not a machine; there are ledger-0"),
    ],
)
def test_a_command_that_cannot_do_it_says_why_in_one_line(arguments, code, told):
    result = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert result.returncode == code
    assert told in result.stderr
    assert "Traceback" not in result.stderr and result.stdout == ""
    assert "\x1b" not in result.stderr, "colours are for terminals"


def test_make_help_lists_what_can_be_tested():
    makefile = (ROOT / "Makefile").read_text()
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY:((?:.*\\\n)*.*)$", makefile, re.MULTILINE)[1].split()
    for target in re.findall(r"^([a-z-]+):", makefile, re.MULTILINE):
        assert target in phony, f"a file of the name {target} would be taken for it"
        assert not target.startswith("test") or f"make {target} " in told


def test_down_needs_no_network_where_the_project_was_set_up():
    # These tests themselves run under make, and one make below another announces its directory.
    command = ["make", "--no-print-directory", "--dry-run", "down"]
    planned = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    first = planned.splitlines()[0]
    assert first.endswith("|| toolchain/setup.sh"), first
