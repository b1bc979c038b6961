"""The drain adapter, with a kubectl that notes what it is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
# As an API server answers an account that may use nodes, and not see their leases.
KUBECTL = """#!/bin/sh
echo "$*" >>{asked}
case "$*" in
  *lease/*) echo 'leases.coordination.k8s.io "node" is forbidden' >&2; exit 1 ;;
  *get*) echo '{{"kind": "Node", "spec": {{}}}}' ;;
esac
"""


def test_a_node_that_could_not_be_given_back_is_not_cordoned(tmp_path):
    (tmp_path / "kubectl").write_text(KUBECTL.format(asked=tmp_path / "asked"))
    (tmp_path / "kubectl").chmod(0o755)
    role = {"name": "hybrid.platform.patching", "tasks_from": "kubernetes_drain"}
    play = {"hosts": "node", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", "node,", tmp_path / "play.yml"]
    path = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=PROJECT, env=path, capture_output=True, text=True)
    assert done.returncode == 2 and "is forbidden" in done.stdout, done.stdout + done.stderr
    assert [line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()] == ["get"]
