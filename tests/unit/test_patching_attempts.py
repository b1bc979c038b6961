"""One attempt to patch after another, in the same run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
FORMER = {
    "host": "localhost",
    "run": "r",
    "result": "failed",
    "fault": "apt failed",
    "started": "2026-11-25T20:00:00Z",
    "packages": {"before": {"demo": "1.0"}, "after": {"demo": "1.1"}},
    "changes": [{"name": "demo", "from": "1.0", "to": "1.1"}],
    "pending": [],
    "holds": ["kept"],
    "cves": {"found": {"demo=1.1": ["CVE-2026-1111"]}, "closed": {"demo": ["CVE-2026-1111"]}},
    "services": {
        "before": ["demo.service"],
        "after": [],
        "standing_before": ["old.socket"],
        "failed_before": ["old.mount"],
        "restarted": [],
    },
    "rebooted": False,
    "reboot_pending": [],
}


@pytest.fixture
def run(tmp_path):
    """Runs something of the role on this machine, with what is given; tells what was said, and the evidence left."""

    def play(what, **given):
        given |= {"patching_run": "r", "patching_evidence_directory": str(tmp_path / "evidence")}
        given |= {"ansible_python_interpreter": sys.executable}
        hosts = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        role = {"name": "hybrid.platform.patching", **what}
        (tmp_path / "play.yml").write_text(json.dumps([{**hosts, "tasks": [{"ansible.builtin.include_role": role}]}]))
        command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", "localhost,"]
        command += ["--extra-vars", json.dumps(given), tmp_path / "play.yml"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        return done, json.loads((tmp_path / "evidence/r/localhost.json").read_text())

    (tmp_path / "evidence/r").mkdir(parents=True)
    (tmp_path / "evidence/r/localhost.json").write_text(json.dumps(FORMER))
    return play


def test_an_attempt_that_is_refused_keeps_what_the_former_one_has_seen(run):
    """By the role itself, on this machine, which a blackout keeps it from touching."""
    blackout = {"from": "2026-01-01T00:00:00", "until": "2999-01-01T00:00:00", "reason": "stock"}
    done, left = run({}, patching_blackouts=[blackout])
    assert done.returncode == 2 and "blackout" in done.stdout, done.stdout + done.stderr
    assert left["result"] == "failed" and "blackout" in left["fault"]
    assert left["packages"]["before"] == {"demo": "1.0"} and left["holds"] == ["kept"]
    assert left["services"]["standing_before"] == ["old.socket"]
    assert left["services"]["before"] == ["demo.service"] and left["services"]["failed_before"] == ["old.mount"]
    assert left["changes"] and left["cves"] == {**left["cves"], **FORMER["cves"]}


def test_evidence_tells_no_cve_as_closed_whose_update_was_only_fetched(run):
    """The role's own task, with what an attempt has found and not changed."""
    update = {"name": "demo", "from": "1.1", "to": "1.2", "left": None}
    done, left = run(
        {"tasks_from": "evidence"},
        __patching_run="r",
        __patching_started="2026-11-25T20:00:00Z",
        __patching_result="failed",
        __patching_fault="no space",
        __patching_former=FORMER,
        __patching_found={"pending": [update], "closed": {"demo": ["CVE-2026-2222"]}},
        __patching_before={"packages": {"demo": "1.0"}},
        __patching_after={"packages": {"demo": "1.1"}},
        __patching_restarted=[],
        __patching_rebooted=False,
        __patching_rolled_back=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert left["cves"]["found"] == {"demo=1.1": ["CVE-2026-1111"], "demo=1.2": ["CVE-2026-2222"]}
    assert left["cves"]["closed"] == {"demo": ["CVE-2026-1111"]}
