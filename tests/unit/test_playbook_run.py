"""A run of a playbook: nothing secret outlives it, and nothing runs beside it."""

import errno
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.machines.state import State
from infra.targets.local import ansible


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setattr(State, "runtime", property(lambda _: tmp_path / "run"))
    return State(tmp_path / "state")


@pytest.fixture
def private(here, monkeypatch):
    """Runs that succeed; the directories in which they had their variables."""
    used = []

    def run(private_data_dir, **_):
        used.append(private_data_dir)
        log = Path(private_data_dir, "artifacts/run/stdout")
        log.parent.mkdir(parents=True)
        log.write_text("PLAY RECAP")
        return SimpleNamespace(status="successful")

    monkeypatch.setattr(ansible.ansible_runner, "run", run)
    return used


def play(here):
    ansible.run_playbook(here, "ledger-0-configuration", "vm_tier.yml", {"all": {}}, {"password": "secret"})


def test_the_log_is_kept_and_the_variables_are_not(here, private):
    play(here)
    assert (here.logs() / "ledger-0-configuration.log").read_text() == "PLAY RECAP"
    assert private and not [path for path in here.runtime.rglob("*") if path.is_file()]


def test_a_full_disk_neither_keeps_the_secrets_nor_fails_a_good_run(here, private, monkeypatch, capsys):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    play(here)
    assert "could not be written: No space left on device" in capsys.readouterr().out
    assert private and not [path for path in here.runtime.rglob("*") if path.is_file()]


def test_a_run_that_goes_on_without_its_pulumi_is_ended_first(here, private):
    argument = f"{here.runtime}/ansible/ledger-0-configuration/1/inventory"
    with subprocess.Popen(["sh", "-c", "sleep 60; true", "ansible-playbook", argument]) as orphan:
        play(here)
        assert orphan.wait(timeout=10) != 0
