"""What the patching role decides in its own variables."""

from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from plugins.filter.patching import died

ROLE = Path(__file__).resolve().parents[2] / "roles/patching"


def decide(expression: str, **known: Any) -> Any:
    """What an expression is in the role, by its variables and their defaults."""
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "ansible_check_mode": False,
        **known,
    }
    return Templar(loader=loader, variables=variables).template(trust_as_template("{{ " + expression + " }}"))


QUIET: dict[str, Any] = {
    "__patching_before": {"restart": [], "reboot": []},
    "__patching_former": {},
    "__patching_found": {},
}
REBOOT = {"__patching_before": {"restart": [], "reboot": ["a newer kernel"]}}


@pytest.mark.parametrize(
    ("found", "has_work"),
    [
        ({}, False),
        ({"__patching_found": {"selected": ["an update"]}}, True),
        ({"patching_reboot": "always"}, True),
        (REBOOT, True),
        ({**REBOOT, "patching_reboot": "never"}, False),
        ({"__patching_before": {"restart": ["ssh.service"], "reboot": []}}, True),
        ({"__patching_former": {"result": "begun"}}, True),
        ({"__patching_former": {"result": "failed"}}, True),
        ({"__patching_former": {"result": "patched"}}, False),
    ],
)
def test_a_machine_leaves_service_where_it_is_touched_or_an_attempt_has_left_it_so(found, has_work):
    assert decide("__patching_has_work", **{**QUIET, **found}) is has_work


@pytest.mark.parametrize(("said", "looks"), [("true", True), ("false", False), (True, True), (False, False)])
def test_a_switch_of_the_command_line_is_a_word_and_means_what_it_says(said, looks):
    assert decide("__patching_only_looks", patching_report_only=said) is looks
    assert decide("__patching_only_looks", patching_report_only=said, ansible_check_mode=True) is True


@pytest.mark.parametrize(
    ("stopped", "faults", "gives"),
    [("apt-daily.timer", ["no space"], True), ("", ["locked"], False), ("", None, False), ("", [], True)],
)
def test_timers_that_another_run_has_stopped_stay_so_where_this_one_was_refused(stopped, faults, gives):
    preflight = {} if faults is None else {"faults": faults}
    known = {"__patching_stopped": {"stdout": stopped}, "__patching_preflight": preflight}
    assert decide("__patching_gives_timers_back", **known) is gives


@pytest.mark.parametrize(
    ("reboot", "reasons", "reboots"),
    [("never", ["kernel"], False), ("needed", ["kernel"], True), ("needed", [], False), ("always", [], True)],
)
def test_a_reboot_is_made_as_it_is_wanted(reboot, reasons, reboots):
    assert decide("__patching_reboots", patching_reboot=reboot, __patching_after={"reboot": reasons}) is reboots


@pytest.mark.parametrize("service", ["fwupd.service", "ssh@3-10.0.0.1:22-10.0.0.2:50000.service", "user@0.service"])
def test_services_that_come_with_a_caller_and_go_with_him_may_end(service):
    before, after = {"running": [service], "failed_units": []}, {"running": [], "failed_units": []}
    assert died(before, after, decide("patching_may_end")) == []


def test_no_condition_takes_a_word_for_a_switch():
    """`-e patching_report_only=false` is a text, and a text that is not empty counts as true."""
    for file in (*ROLE.glob("tasks/*.yml"), *ROLE.glob("vars/*.yml")):
        for line in file.read_text().splitlines():
            for switch in ("patching_report_only", "patching_allow_downtime"):
                said = line.count(switch) - line.count(f"acceptable: {switch}")
                assert line.count(f"{switch} | bool") == said, f"{file.name}: {line.strip()}"


def test_the_distributions_own_runs_stand_still():
    assert decide("__patching_timers") == ["apt-daily.timer", "apt-daily-upgrade.timer", "unattended-upgrades.service"]
