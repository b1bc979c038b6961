"""Decision records: current with the spec, and a history when a workload moves."""

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml

from infra.placement import Plan, adr, migration, place
from infra.spec import load_spec

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "docs/decisions"


@pytest.fixture
def plan() -> Plan:
    return place(load_spec(ROOT / "platform.yaml"))


def changed(tmp_path: Path, old: str, new: str) -> Plan:
    text = (ROOT / "platform.yaml").read_text()
    assert old in text, f"the reference spec no longer contains {old!r}; fix this test"
    file = tmp_path / "changed.yaml"
    file.write_text(text.replace(old, new, 1))
    return place(load_spec(file))


def header(directory: Path, number: str) -> dict:
    text = next(directory.glob(f"{number}-*.md")).read_text()
    return yaml.safe_load(text.split("---\n")[1])


def test_the_records_of_the_reference_platform_are_current(plan):
    assert adr.stale(plan, RECORDS) == [], "run `make decisions` and review the difference"


def test_the_migration_example_is_current():
    estate = place(load_spec(ROOT / "docs/migration/estate.yaml"))
    assert migration.render(estate) == (ROOT / "docs/migration/README.md").read_text()


def test_a_second_run_changes_nothing(plan, tmp_path):
    assert len(adr.write(plan, tmp_path)) == len(plan.placements) + 1
    assert adr.write(plan, tmp_path) == []


def test_a_changed_answer_makes_its_record_stale_and_no_other(plan, tmp_path):
    adr.write(plan, tmp_path)
    other = changed(tmp_path, "deploy_frequency: weekly", "deploy_frequency: daily")
    assert adr.stale(other, tmp_path) == ["0004-worker.md"]
    before = header(tmp_path, "0004")["inputs"]
    adr.write(other, tmp_path)
    assert header(tmp_path, "0004")["inputs"] != before


def test_a_move_supersedes_the_record_and_keeps_it(plan, tmp_path):
    adr.write(plan, tmp_path)
    moved = changed(tmp_path, "      isolation: low", "      isolation: hard")
    assert sorted(adr.write(moved, tmp_path)) == ["0003-web.md", "0005-web.md", "README.md"]
    assert header(tmp_path, "0003")["status"] == "superseded by [0005](0005-web.md)"
    assert (header(tmp_path, "0005")["status"], header(tmp_path, "0005")["runtime"]) == ("accepted", "vm")
    assert "supersedes [0003](0003-web.md)" in (tmp_path / "0005-web.md").read_text()
    assert adr.stale(moved, tmp_path) == []


def test_a_workload_that_goes_leaves_a_deprecated_record(plan, tmp_path):
    adr.write(plan, tmp_path)
    without = plan.spec.model_copy(
        update={"workloads": {name: w for name, w in plan.spec.workloads.items() if name != "worker"}}
    )
    adr.write(place(without), tmp_path)
    assert header(tmp_path, "0004")["status"].startswith("deprecated")


def test_records_link_only_to_what_exists(plan, tmp_path):
    adr.write(plan, tmp_path)
    adr.write(changed(tmp_path, "      isolation: low", "      isolation: hard"), tmp_path)
    for file in tmp_path.glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", file.read_text()):
            assert (tmp_path / target).is_file(), f"{file.name} links to {target}"


def test_a_file_that_was_broken_by_hand_is_named(plan, tmp_path):
    (tmp_path / "0001-ledger.md").write_text("# no header\n")
    with pytest.raises(adr.RecordError, match=r"0001-ledger\.md: has no header"):
        adr.stale(plan, tmp_path)


def test_review_dates_pass(plan):
    reviews = {placement.workload: placement.review_on for placement in plan.placements}
    assert reviews["ledger"] > reviews["web"], "a veto is looked at later than a score"
    assert [p.workload for p in adr.overdue(plan, date(2027, 6, 1))] == ["web", "worker"]
    assert list(adr.overdue(plan, reviews["web"])) == []


def decisions_command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "infra.placement", "decisions", "--check", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_a_passed_review_warns_and_fails_only_under_strict():
    late = decisions_command("--today", "2028-01-01")
    assert late.returncode == 0
    assert "ledger: its review was due on 2027-11-23" in late.stderr
    assert decisions_command("--today", "2028-01-01", "--strict").returncode == 1
    assert decisions_command("--today", "2026-11-24", "--strict").returncode == 0


def test_stale_records_fail_the_check_and_nothing_is_written(tmp_path):
    result = decisions_command("--directory", str(tmp_path))
    assert result.returncode == 1
    assert "run `make decisions`" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_migration_plan_is_in_the_order_that_the_article_asks_for():
    plan = migration.migration(place(load_spec(ROOT / "docs/migration/estate.yaml")))
    assert [step.phase for step in plan.steps] == [
        "walls that are too weak",
        "foundations",
        "foundations",
        "foundations",
        "pilot",
        "stateless",
        "stateful, last",
    ]
    titles = [step.title for step in plan.steps]
    assert titles[0] == "thumbnails: container → microvm"
    assert titles[4:] == ["pricing: vm → container", "catalogue: vm → container", "search: vm → container"]
    assert [stay.workload for stay in plan.stays] == ["orders-db"]
    for step in plan.steps:
        assert step.back and step.how
    assert all("“See every workload” is done" in step.entry for step in plan.steps[4:])


def test_a_platform_without_runs_on_has_nothing_to_migrate(plan):
    nothing = migration.migration(plan)
    assert (nothing.steps, nothing.stays) == ((), ())
    assert nothing.unknown == tuple(plan.spec.workloads)
    assert "Nothing moves" in migration.render(plan)
