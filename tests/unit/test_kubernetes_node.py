"""What the role kubernetes_node waits for, and what a check compares."""

import sys

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.unit.local_play import PROJECT, ansible_playbook

JOIN = PROJECT / "roles/kubernetes_node/tasks/join.yml"
FIRST, SECOND = "first 10.0.0.1 10.244.0.0/24", "second 10.0.0.2 10.244.1.0/24"


@pytest.mark.parametrize(
    ("nodes", "checks", "enough"),
    [
        ([FIRST, SECOND], False, True),
        ([FIRST], False, False),
        ([FIRST], True, True),
        ([SECOND], True, False),
        (["first 10.0.0.1 "], True, False),
    ],
)
def test_a_run_waits_for_every_node_of_its_play_and_a_check_for_none_that_is_yet_to_join(nodes, checks, enough):
    (until,) = [task["until"] for task in yaml.safe_load(JOIN.read_text()) if "until" in task]
    known = {
        "__kubernetes_node_nodes": {"stdout_lines": nodes},
        "kubernetes_node_name": "first",
        "ansible_play_hosts": ["first", "second"],
        "ansible_check_mode": checks,
    }
    told = Templar(DataLoader(), variables=known).template(trust_as_template("{{ " + until + " }}"))
    assert told is enough


@pytest.mark.parametrize("checks", [True, False], ids=["a check", "a run"])
def test_images_are_compared_where_there_is_a_node(checks, tmp_path):
    use = {"name": "hybrid.platform.kubernetes_node", "tasks_from": "images"}
    given = {
        "ansible_python_interpreter": sys.executable,
        "kubernetes_node_binaries_directory": str(tmp_path),
        "kubernetes_node_control_plane": "localhost",
        "kubernetes_node_image_archives": [{"reference": "estate/web:1", "path": str(tmp_path / "web.tar")}],
    }
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": given,
        "tasks": [{"ansible.builtin.include_role": use}],
    }
    done = ansible_playbook(tmp_path, play, *(["--check"] if checks else []))
    assert (done.returncode == 0) is checks and "changed=0" in done.stdout, done.stdout + done.stderr
