"""What the role kubernetes_node waits for."""

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

JOIN = Path(__file__).resolve().parents[2] / "roles/kubernetes_node/tasks/join.yml"
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
