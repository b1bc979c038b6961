"""Whom playbooks/patch.yml patches."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plugins.filter.patching import evidence_of_nothing

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = {"ansible_ssh_executable": "/bin/false"}
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
BLACKOUT = {"from": "2026-01-01T00:00:00", "until": "2999-01-01T00:00:00"}
HERE = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "patching_blackouts": [BLACKOUT],
}
PATCH = [{"import_playbook": str(PROJECT / "playbooks/patch.yml"), "vars": {"patching_run": "r"}}]
ALL = {"scope": "all", "packages": [], "exclude": []}
WEB = {"web": {"hosts": {"one": NOBODY, "two": NOBODY}}}


@pytest.mark.parametrize(
    ("inventory", "arguments", "why"),
    [
        (WEB, [], "is in 'vm_tier'"),
        ({"all": {}}, [], "is in 'vm_tier'"),
        (WEB, ["--limit=one", "--extra-vars=patching_hosts=two"], "is in 'two'"),
        ({**WEB, "all": {"vars": {"patching_hosts": "web"}}}, [], "patching_hosts cannot stand in the inventory"),
        (WEB, ["--extra-vars=patching_hosts=web patching_batches=[1]"], "patching_batches is [1]; it is a number"),
    ],
)
def test_a_run_that_is_not_well_asked_for_fails(inventory, arguments, why, tmp_path):
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    command = [PLAYBOOK, f"--inventory={tmp_path}/inventory.json"]
    done = subprocess.run([*command, *arguments, "playbooks/patch.yml"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert why in done.stdout + done.stderr


@pytest.fixture
def patch(tmp_path):
    """Runs the playbook, or others, with what is given, on this machine, which a blackout keeps it from touching; tells
    what was said, and what has become of each machine in each run."""

    def run(hosts, plays=PATCH, environment=None, **given):
        (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": HERE}}))
        (tmp_path / "site.yml").write_text(json.dumps(plays))
        given = {"patching_hosts": "all", "patching_evidence_directory": str(tmp_path), **given}
        command = [PLAYBOOK, f"--inventory={tmp_path}/inventory.json", "--extra-vars", json.dumps(given)]
        known = {**os.environ, **(environment or {})}
        done = subprocess.run([*command, tmp_path / "site.yml"], cwd=PROJECT, env=known, capture_output=True, text=True)
        files = [file for file in tmp_path.glob("*/*.json") if file.stem != "summary"]
        return done, {f"{file.parent.name}/{file.stem}": json.loads(file.read_text()) for file in files}

    (tmp_path / "r").mkdir()
    return run


def has_patched(directory, *hosts, asked=ALL):
    for host in hosts:
        patched = {
            **evidence_of_nothing(host, "r"),
            "result": "patched",
            "fault": "",
            "started": "2026-11-24T02:00:00Z",
            "asked": asked,
            "packages": {"before": {}},
        }
        (directory / f"r/{host}.json").write_text(json.dumps(patched))


def test_a_rollout_stops_at_a_machine_that_failed_whatever_strategy_the_operator_prefers(patch, tmp_path):
    """By the playbook itself: one is patched already, and a blackout keeps it from touching the others."""
    has_patched(tmp_path, "done")
    hosts: dict[str, Any] = {"fails": {}, "done": {}, "next": {}}
    done, left = patch(hosts, environment={"ANSIBLE_STRATEGY": "free"}, patching_batches=[2, 1])
    assert done.returncode == 2 and "blackout" in done.stdout, done.stdout + done.stderr
    assert left["r/fails"]["result"] == "failed"
    assert "r/next" not in left, done.stdout


def test_a_machine_that_cannot_even_be_looked_at_has_failed_and_says_why(patch, tmp_path):
    done, left = patch({"bare": {}}, ansible_python_interpreter="/nonexistent/python")
    assert done.returncode == 2, done.stdout + done.stderr
    bare = left["r/bare"]
    assert bare["result"] == "failed" and "/nonexistent/python" in bare["fault"], bare["fault"]
    assert json.loads((tmp_path / "r/summary.json").read_text())["failed"] == ["bare"]


def test_each_machine_that_fails_leaves_evidence_where_the_operator_takes_any_error_for_fatal(patch):
    """One after the other: the second is not fit, which is looked at last."""
    hosts = {
        "first": {"patching_after_tasks": ["/no/such/tasks.yml"]},
        "second": {"patching_free": {"/": 1e12}, "patching_before_tasks": ["kubernetes_drain.yml"]},
    }
    prefers = {"ANSIBLE_ANY_ERRORS_FATAL": "true"}
    done, left = patch(hosts, environment=prefers, patching_batches=2, patching_report_only=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert [one["result"] for one in left.values()] == ["failed", "failed"], done.stdout
    assert "There is no file of tasks /no/such/tasks.yml" in left["r-report/first"]["fault"]
    assert left["r-report/second"]["fault"].startswith("Stop where the machine is not fit"), (
        "it fails for what is wrong with it"
    )


def test_the_checks_of_every_machine_of_a_batch_are_made_before_the_next_one(patch, tmp_path):
    has_patched(tmp_path, "web", "db")
    hosts = {
        host: {"patching_gate_checks": [{"command": command}]} for host, command in (("web", "true"), ("db", "false"))
    }
    done, left = patch({**hosts, "next": {}}, patching_batches=[2, 1], patching_health_timeout=1)
    assert done.returncode == 2 and "false ends with 1" in done.stdout, done.stdout + done.stderr
    assert "r/next" not in left, done.stdout


def test_a_machine_that_an_earlier_play_has_lost_stops_the_rollout_and_is_told(patch, tmp_path):
    before = {"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.ping": {}}]}
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (tmp_path / "ssh").chmod(0o755)
    gone = {"ansible_connection": "ssh", "ansible_ssh_executable": str(tmp_path / "ssh")}
    done, left = patch({"gone": gone, "web1": {}, "web2": {}}, plays=[before, *PATCH])
    assert done.returncode != 0 and "Not patched: gone" in done.stdout, done.stdout + done.stderr
    assert {run: one["result"] for run, one in left.items()} == {"r/gone": "unreached"}


def test_a_second_run_of_the_same_playbook_has_its_own_name(patch, tmp_path):
    has_patched(tmp_path, "web1")
    done, left = patch({"web1": {}}, plays=[*PATCH, {**PATCH[0], "vars": {"patching_run": "second"}}])
    assert done.returncode == 2, done.stdout + done.stderr
    assert {run: one["result"] for run, one in left.items()} == {"r/web1": "patched", "second/web1": "failed"}


def test_who_was_patched_for_some_packages_is_not_passed_over_by_a_run_for_all(patch, tmp_path):
    has_patched(tmp_path, "web1", asked={"scope": "named", "packages": ["openssl"], "exclude": []})
    done, left = patch({"web1": {}})
    assert done.returncode == 2 and "blackout" in left["r/web1"]["fault"], done.stdout + done.stderr
    assert left["r/web1"]["asked"] == ALL


def test_a_run_whose_name_is_the_time_keeps_it(patch):
    done, left = patch({"web1": {}}, plays=[{**PATCH[0], "vars": {"patching_run": "at{{ now(fmt='%H%M%S') }}"}}])
    assert done.returncode == 2, done.stdout + done.stderr
    assert [one["result"] for one in left.values()] == ["failed"], left.keys()
