"""Machines on a host with systemd, as far as its commands show; docs/hosts.md tells where it was run for real."""

import pytest

from infra.machines import nspawn, scope
from infra.targets.local import machine
from tests.unit import platform_data

CONFIG = platform_data.machine("nspawn")
UNIT = "machine-hp\\x2d1a2b3c\\x2dledger\\x2d0.scope"


@pytest.fixture
def commands(monkeypatch):
    """What was asked of systemd; machined knows the machine."""
    given = []

    def run(*command):
        given.append(command)
        return f"{UNIT}\n" if command[0] == "machinectl" else ""

    for module in (scope, machine):
        monkeypatch.setattr(module, "run", run)
    monkeypatch.setattr(machine, "succeeds", lambda *command: True)
    monkeypatch.setattr(nspawn, "host_has_systemd", lambda: True)
    return given


@pytest.fixture
def driver(commands, tmp_path):
    return nspawn.NspawnDriver(CONFIG, tmp_path)


def test_the_machine_is_in_a_scope_of_its_own_that_is_limited_from_the_start(driver):
    command = driver._command()
    assert {f"--property=MemoryMax={2**30}", "--property=CPUQuota=50%"} <= set(command)
    # In the supervisor's unit it would be neither limited by its scope's properties nor kept from the host's devices.
    assert not {"--keep-unit", "--register=no"} & set(command)


def test_the_supervisor_is_no_part_of_what_is_limited(commands, tmp_path):
    machine._start_unit(CONFIG, tmp_path, ["supervisor"], {"PATH": "/bin"})
    (command,) = commands
    assert command[0] == "systemd-run" and command[-1] == "supervisor"
    assert not [argument for argument in command if "Memory" in argument or "CPU" in argument]
    # Whoever ends a supervisor means it.
    assert not [argument for argument in command if "Restart" in argument]


def test_limits_and_snapshots_ask_for_the_scope(driver, commands):
    driver.apply_limits()
    assert commands[-1][:4] == ("systemctl", "set-property", "--runtime", UNIT)
    with driver.standing_still():
        assert commands[-1] == ("systemctl", "freeze", UNIT)
    assert commands[-1] == ("systemctl", "thaw", UNIT)


@pytest.mark.parametrize(("state", "still"), [("frozen", True), ("running", False)])
def test_whether_a_machine_stands_still_is_what_systemd_says(driver, monkeypatch, state, still):
    monkeypatch.setattr(scope, "run", lambda *command: UNIT if command[0] == "machinectl" else f"{state}\n")
    assert driver.stands_still() is still
