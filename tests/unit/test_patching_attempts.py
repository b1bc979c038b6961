"""One attempt to patch after another, in the same run."""

import json
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FORMER = {
    "host": "localhost",
    "run": "r",
    "result": "failed",
    "fault": "apt failed",
    "packages": {"before": {"demo": "1.0"}, "after": {"demo": "1.1"}},
    "changes": [{"name": "demo", "from": "1.0", "to": "1.1"}],
    "pending": [],
    "holds": ["kept"],
    "cves": {"found": {"demo": ["CVE-2026-1111"]}, "closed": {"demo": ["CVE-2026-1111"]}},
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


def test_an_attempt_that_is_refused_keeps_what_the_former_one_has_seen(tmp_path):
    """By the role itself, on this machine, which a blackout keeps it from touching."""
    evidence = tmp_path / "evidence/r/localhost.json"
    evidence.parent.mkdir(parents=True)
    evidence.write_text(json.dumps(FORMER))
    given = {
        "patching_run": "r",
        "patching_evidence_directory": str(tmp_path / "evidence"),
        "patching_blackouts": [{"from": "2026-01-01T00:00:00", "until": "2999-01-01T00:00:00", "reason": "stock"}],
        "ansible_python_interpreter": sys.executable,
    }
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["hybrid.platform.patching"]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", "localhost,"]
    command += ["--extra-vars", json.dumps(given), tmp_path / "play.yml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2 and "blackout" in done.stdout, done.stdout + done.stderr
    left = json.loads(evidence.read_text())
    assert left["result"] == "failed" and "blackout" in left["fault"]
    assert left["packages"]["before"] == {"demo": "1.0"} and left["holds"] == ["kept"]
    assert left["services"]["standing_before"] == ["old.socket"]
    assert left["services"]["before"] == ["demo.service"] and left["services"]["failed_before"] == ["old.mount"]
    assert left["changes"] and left["cves"]["closed"] == {"demo": ["CVE-2026-1111"]}
