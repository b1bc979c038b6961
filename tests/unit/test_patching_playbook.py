"""Whom playbooks/patch.yml patches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = {"ansible_ssh_executable": "/bin/false"}
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
    command = [Path(sys.executable).parent / "ansible-playbook", f"--inventory={tmp_path}/inventory.json"]
    done = subprocess.run([*command, *arguments, "playbooks/patch.yml"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"is in '{whom}'" in done.stdout + done.stderr
