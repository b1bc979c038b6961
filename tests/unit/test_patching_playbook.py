"""Whom playbooks/patch.yml patches."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.filter.patching import evidence_of_nothing

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = {"ansible_ssh_executable": "/bin/false"}
PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
WEB = {"web": {"hosts": {"one": NOBODY, "two": NOBODY}}}


@pytest.mark.parametrize(
    ("inventory", "arguments", "whom"),
    [
        (WEB, [], "vm_tier"),
        ({"all": {}}, [], "vm_tier"),
        (WEB, ["--limit=one", "--extra-vars=patching_hosts=two"], "two"),
    ],
)
def test_a_run_that_would_patch_nobody_fails(inventory, arguments, whom, tmp_path):
    (tmp_path / "inventory.json").write_text(json.dumps(inventory))
    command = [PLAYBOOK, f"--inventory={tmp_path}/inventory.json"]
    done = subprocess.run([*command, *arguments, "playbooks/patch.yml"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"is in '{whom}'" in done.stdout + done.stderr


def test_a_rollout_stops_at_a_machine_that_failed_whatever_strategy_the_operator_prefers(tmp_path):
    """By the playbook itself: one is patched already, and a blackout keeps it from touching the others."""
    patched = {**evidence_of_nothing("done", "r"), "result": "patched", "fault": ""}
    (tmp_path / "r").mkdir()
    (tmp_path / "r/done.json").write_text(json.dumps(patched))
    given = {
        "patching_run": "r",
        "patching_hosts": "all",
        "patching_batches": [2, 1],
        "patching_evidence_directory": str(tmp_path),
        "patching_blackouts": [{"from": "2026-01-01T00:00:00", "until": "2999-01-01T00:00:00"}],
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
    }
    command = [PLAYBOOK, "--inventory=fails,done,next", "--extra-vars", json.dumps(given), "playbooks/patch.yml"]
    prefers = {**os.environ, "ANSIBLE_STRATEGY": "free"}
    done = subprocess.run(command, cwd=PROJECT, env=prefers, capture_output=True, text=True)
    assert done.returncode == 2 and "blackout" in done.stdout, done.stdout + done.stderr
    assert json.loads((tmp_path / "r/fails.json").read_text())["result"] == "failed"
    assert not (tmp_path / "r/next.json").exists(), done.stdout


def test_a_machine_that_cannot_even_be_looked_at_has_failed_and_says_why(tmp_path):
    given = {
        "patching_run": "r",
        "patching_hosts": "all",
        "patching_evidence_directory": str(tmp_path),
        "ansible_connection": "local",
        "ansible_python_interpreter": "/nonexistent/python",
    }
    command = [PLAYBOOK, "--inventory=bare,", "--extra-vars", json.dumps(given), "playbooks/patch.yml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    left = json.loads((tmp_path / "r/bare.json").read_text())
    assert left["result"] == "failed" and "/nonexistent/python" in left["fault"], left["fault"]
    assert json.loads((tmp_path / "r/summary.json").read_text())["failed"] == ["bare"]
