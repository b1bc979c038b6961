"""What the patching role decides in its own variables."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from plugins.filter.patching import died

ROLE = Path(__file__).resolve().parents[2] / "roles/patching"


def decide(expression: str, **known: Any) -> Any:
    """What an expression, or a text with some, is in the role, by its variables and their defaults."""
    loader = DataLoader()
    variables = {
        **loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "ansible_check_mode": False,
        **known,
    }
    text = expression if "{{" in expression else "{{ " + expression + " }}"
    return Templar(loader=loader, variables=variables).template(trust_as_template(text))


QUIET: dict[str, Any] = {
    "__patching_before": {"restart": [], "reboot": []},
    "__patching_last_result": "patched",
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
        ({"__patching_last_result": "begun"}, True),
        ({"__patching_last_result": "failed"}, True),
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


@pytest.mark.parametrize(
    ("said", "rebooted"),
    [
        ({}, False),
        ({"skipped": True}, False),
        ({"failed": True, "rebooted": False, "msg": "Reboot command failed."}, False),
        ({"failed": True, "rebooted": True, "msg": "Timed out waiting for last boot time check"}, True),
        ({"rebooted": True}, True),
    ],
)
def test_a_reboot_is_told_where_one_was_made_and_not_where_it_was_only_meant(said, rebooted):
    known = {"__patching_reboot": said, "patching_reboot": "always", "__patching_after": {"reboot": ["kernel"]}}
    assert decide("__patching_rebooted", **known) is rebooted
    settle = yaml.safe_load((ROLE / "tasks/settle.yml").read_text())
    made = [task for task in settle if task.get("register") == "__patching_reboot"]
    assert [task["name"] for task in made] == ["Reboot"]
    assert not any("__patching_rebooted" in task.get("ansible.builtin.set_fact", {}) for task in settle)


@pytest.mark.parametrize("service", ["fwupd.service", "ssh@3-10.0.0.1:22-10.0.0.2:50000.service", "user@0.service"])
def test_services_that_come_with_a_caller_and_go_with_him_may_end(service):
    after: dict[str, list[str]] = {"running": [], "standing": [], "called": [], "unneeded": [], "failed_units": []}
    before = {**after, "running": [service]}
    assert died(before, after, decide("patching_may_end")) == []


def test_no_condition_takes_a_word_for_a_switch():
    """`-e patching_report_only=false` is a text, and a text that is not empty counts as true."""
    for file in (*ROLE.glob("tasks/*.yml"), *ROLE.glob("vars/*.yml")):
        for line in file.read_text().splitlines():
            for switch in ("patching_report_only", "patching_allow_downtime"):
                said = line.count(switch) - line.count(f"acceptable: {switch}")
                assert line.count(f"{switch} | bool") == said, f"{file.name}: {line.strip()}"


TIMERS = ["apt-daily.timer", "apt-daily-upgrade.timer"]
SERVICE = "unattended-upgrades.service"


@pytest.fixture
def stopped(monkeypatch, tmp_path):
    """What stop_timers.yml asks of systemd on a machine on which some units are active."""

    def of(*active, **known):
        for unit in active:
            (tmp_path / unit).touch()
        looks = f'[ "$1" != is-active ] || {{ [ -e {tmp_path}/$3 ]; exit; }}'
        for program in ("systemctl", "systemd-run"):
            (tmp_path / program).write_text(f"#!/bin/sh\n{looks}\nIFS='|'; echo \"{program}|$*\" >>{tmp_path}/asked\n")
            (tmp_path / program).chmod(0o755)
        task = yaml.safe_load((ROLE / "tasks/stop_timers.yml").read_text())[0]
        script = decide(task["ansible.builtin.shell"]["cmd"], **known)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        told = subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout.split()
        file = tmp_path / "asked"
        return told, [line.split("|") for line in file.read_text().splitlines()] if file.exists() else []

    return of


def test_timers_stop_and_come_back_by_themselves_and_the_service_runs_on_until_no_run_is_under_way(stopped):
    told, asked = stopped(*TIMERS, SERVICE, patching_timers_back_after="1h 30min")
    assert told == [*TIMERS, SERVICE]
    back, stop = asked
    assert "--on-active=1h 30min" in back and back[-6:] == ["systemctl", "--no-block", "start", *TIMERS, SERVICE]
    assert stop == ["systemctl", "stop", *TIMERS]


def test_what_is_not_planned_is_not_stopped(stopped):
    assert stopped() == ([], [])
    told, asked = stopped(SERVICE)
    assert told == [SERVICE] and [command[0] for command in asked] == ["systemd-run"]


def test_what_another_run_will_give_back_is_not_counted_as_stopped_by_this_one(stopped):
    told, asked = stopped(SERVICE, "hybrid-platform-patching-ends.timer")
    assert told == [] and asked == [["systemctl", "restart", "hybrid-platform-patching-ends.timer"]]


def test_the_run_that_is_under_way_is_waited_for_before_the_service_ends_which_would_interrupt_it():
    preflight = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text())
    looks = next(number for number, task in enumerate(preflight) if "hybrid.platform.patch_preflight" in task)
    assert "ansible.builtin.assert" in preflight[looks + 1], "who was refused goes on and stops it"
    ends = preflight[looks + 2]
    for booted, checks, installed in (
        (True, False, True),
        (False, False, True),
        (True, True, True),
        (True, False, False),
    ):
        situation = {"booted": booted, "installed": ["unattended-upgrades"] if installed else []}
        stops = decide(ends["when"], __patching_situation=situation, ansible_check_mode=checks)
        assert stops is (booted and not checks and installed)
    argv = ends["ansible.builtin.command"]["argv"]
    for limit, bound in ((300, 300), (0, 30)):
        assert decide(argv[1], patching_lock_timeout=limit) == bound, "timeout takes 0 for no limit"
    assert [argv[0], *argv[2:]] == ["timeout", "systemctl", "stop", SERVICE]


def test_the_look_after_the_update_is_told_what_stood_and_ran_before():
    looks = [task for task in yaml.safe_load((ROLE / "tasks/settle.yml").read_text()) if "until" in task]
    given = looks[0]["hybrid.platform.patch_state"]["stood"]
    before = {"standing": ["first-boot.service"], "running": ["polkit.service"]}
    assert decide(given, __patching_before=before) == ["first-boot.service", "polkit.service"]
