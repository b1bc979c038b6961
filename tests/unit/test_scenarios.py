"""Every role has a Molecule scenario that converges it, and every scenario takes the whole way."""

import re
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent for path in (PROJECT / "molecule").glob("*/molecule.yml"))
ROLES = {path.parents[1].name for path in (PROJECT / "roles").glob("*/tasks/main.yml")}
NAMED = re.compile(r"hybrid\.platform\.([a-z_]+)")
WAY = ["destroy", "create", "check", "converge", "idempotence", "side_effect", "verify", "destroy"]
BY_ITS_CONTROLLER = {"controller"}
"""Scenarios whose machines an Ansible inside configures: it checks first and asks for idempotence, by its own runs."""


def named(file, seen=()):
    """Roles and playbooks that a playbook names, and those that these playbooks name."""
    found = set(NAMED.findall(file.read_text()))
    for playbook in [PROJECT / "playbooks" / f"{name}.yml" for name in found]:
        if playbook.exists() and playbook not in seen:
            found |= named(playbook, (*seen, playbook))
    return found


def converged(scenario):
    return named(scenario / "converge.yml") | {
        role for play in (scenario / "files").glob("site.yml") for role in named(play)
    }


def test_every_role_is_converged_by_a_scenario():
    """`kubernetes` converges the roles cluster_* as well: they need a cluster to talk to."""
    assert ROLES - set().union(*map(converged, SCENARIOS)) == set()
    assert {role for role in ROLES if role.startswith("cluster_")} <= converged(PROJECT / "molecule/kubernetes")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_a_scenario_takes_the_whole_way(scenario):
    shared = yaml.safe_load((PROJECT / "molecule/config.yml").read_text())["scenario"]
    own = (yaml.safe_load((scenario / "molecule.yml").read_text()) or {}).get("scenario", shared)
    steps = iter(own["test_sequence"])
    wanted = [
        step for step in WAY if scenario.name not in BY_ITS_CONTROLLER or step in ("create", "converge", "verify")
    ]
    assert all(step in steps for step in wanted), f"{own['test_sequence']} is not in the order of {wanted}"
    for step in wanted:
        if step in ("converge", "side_effect"):
            assert (scenario / f"{step}.yml").exists(), f"{step} would do nothing"
    assert list((scenario / "tests").glob("test_*.py")), "verify would do nothing"
