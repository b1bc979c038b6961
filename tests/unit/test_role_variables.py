"""Names of what roles remember while they run."""

from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"


def remembered(tasks):
    """What tasks register or set as facts, by name."""
    for task in tasks:
        yield from task.get("ansible.builtin.set_fact", {})
        if "register" in task:
            yield task["register"]
        for part in ("block", "rescue", "always"):
            yield from remembered(task.get(part, []))


@pytest.mark.parametrize("role", sorted(path.parent.name for path in ROLES.glob("*/tasks")))
def test_nothing_that_is_remembered_hides_a_variable_of_the_role(role):
    """It would do so from then on, for whoever uses the role a second time, or another entry point of it."""
    files = [path for tree in ("vars", "defaults") for path in (ROLES / role / tree).glob("*.yml")]
    own = {name for file in files for name in yaml.safe_load(file.read_text()) or {}}
    tasks = [task for file in (ROLES / role / "tasks").glob("*.yml") for task in yaml.safe_load(file.read_text()) or []]
    assert own & set(remembered(tasks)) == set()
