"""What the role postgresql compares in a check."""

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[2] / "roles/postgresql"


@pytest.mark.parametrize(
    ("checks", "present", "ready", "goes_on"),
    [
        (False, False, {"skipped": True}, True),
        (True, True, {"rc": 0}, True),
        (True, True, {"rc": 2}, False),
        (True, False, {"rc": 0}, False),
    ],
    ids=["a run", "it answers", "stopped, or on another port", "somebody else's answers"],
)
def test_users_and_databases_are_compared_where_a_check_finds_the_server(checks, present, ready, goes_on):
    (block,) = [task["block"] for task in yaml.safe_load((ROLE / "tasks/main.yml").read_text()) if "block" in task]
    (accounts,) = [task for task in block if task.get("ansible.builtin.import_tasks") == "accounts.yml"]
    variables = {
        **DataLoader().load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "ansible_check_mode": checks,
        "__postgresql_present": present,
        "__postgresql_ready": ready,
    }
    condition = trust_as_template("{{ " + accounts["when"] + " }}")
    assert Templar(DataLoader(), variables=variables).template(condition) is goes_on
