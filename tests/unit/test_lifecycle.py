"""What `make up` and `make down` make of a pulumi that is at work already, or was."""

import json
import os
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra import lifecycle
from infra.machines.host import CommandError
from infra.machines.state import State
from infra.targets.local import host_settings


@pytest.fixture
def lock(tmp_path):
    """Write the lock of a process as the file backend of pulumi does; returns its file."""

    def write(pid, hostname=None):
        file = tmp_path / "pulumi/backend/.pulumi/locks/organization/hybrid-platform/local/1.json"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"pid": pid, "username": "root", "hostname": hostname or socket.gethostname()}))
        return file

    return write


@pytest.fixture
def working_pulumi(tmp_path):
    (tmp_path / "bin").mkdir()
    program = shutil.copy(shutil.which("sleep"), tmp_path / "bin/pulumi")
    with subprocess.Popen([program, "60"]) as process:
        # The kernel names a process a moment after it has told us that the program was started.
        while Path(f"/proc/{process.pid}/comm").read_text().strip() != "pulumi":
            time.sleep(0.01)
        yield process.pid
        process.kill()


def test_the_lock_of_a_process_that_is_gone_is_cleared(tmp_path, lock):
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    file = lock(gone.pid)
    assert not lifecycle.is_busy(State(tmp_path))
    assert not file.exists()


def test_the_lock_of_a_process_whose_number_is_somebody_elses_now_is_cleared(tmp_path, lock):
    file = lock(os.getpid())
    assert not lifecycle.is_busy(State(tmp_path))
    assert not file.exists()


def test_a_pulumi_at_work_is_told_and_keeps_its_lock(tmp_path, lock, working_pulumi, capsys):
    file = lock(working_pulumi)
    assert lifecycle.is_busy(State(tmp_path))
    assert f"process {working_pulumi}" in capsys.readouterr().out
    assert file.exists()


def test_a_dead_lock_is_cleared_also_after_the_host_was_given_another_name(tmp_path, lock):
    file = lock(os.getpid(), hostname="elsewhere")
    assert not lifecycle.is_busy(State(tmp_path))
    assert not file.exists()


@pytest.mark.parametrize("command", [lifecycle.up, lifecycle.down])
def test_nothing_is_changed_under_a_pulumi_at_work(tmp_path, lock, working_pulumi, monkeypatch, command):
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path))
    for name in ("_pulumi", "sweep", "_verify"):
        monkeypatch.setattr(lifecycle, name, lambda *_: pytest.fail("went to work under a pulumi at work"))
    file = lock(working_pulumi)
    assert command() == 1
    assert file.exists()


def test_only_one_make_is_at_work_on_a_platform(tmp_path):
    here = State(tmp_path / "state")
    with (
        lifecycle.alone(here),
        pytest.raises(SystemExit, match="is at work on this platform"),
        lifecycle.alone(here),
    ):
        pass
    (here.directory / "lifecycle.lock").touch()
    with (here.directory / "lifecycle.lock").open() as opened_in_time:
        with lifecycle.alone(here):
            shutil.rmtree(here.directory)
        assert not lifecycle._taken(opened_in_time.fileno()), "the platform was removed meanwhile"


def test_what_others_of_the_host_may_not_see_is_in_a_directory_for_root_only(tmp_path):
    with lifecycle.alone(State(tmp_path / "state")):
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


@pytest.fixture
def run_of_ansible(tmp_path):
    """What a pulumi that was killed leaves running."""
    argument = f"{State(tmp_path).runtime}/ansible/ledger-0-configuration/1/inventory"
    with subprocess.Popen(["sh", "-c", "sleep 60; true", "ansible-playbook", "-i", argument]) as process:
        yield process
        process.kill()


@pytest.fixture
def platform(tmp_path, monkeypatch):
    """A state with two machines; what is done to the host is written down."""
    done = []

    def clean_up(machine):
        if machine == "a-0":
            raise CommandError("`ip link delete` exited with 2: busy")
        done.append(f"clean up {machine}")

    def driver_of(directory):
        return SimpleNamespace(clean_up=lambda: clean_up(directory.name))

    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path))
    monkeypatch.setattr(lifecycle.supervisor, "stop", lambda directory: done.append(f"stop {directory.name}"))
    monkeypatch.setattr(lifecycle.supervisor, "driver_of", driver_of)
    monkeypatch.setattr(lifecycle.network, "delete", lambda outputs: done.append(f"delete {outputs['bridge']}"))
    monkeypatch.setattr(lifecycle.host_settings, "give_back", lambda: done.append("give back"))
    for machine in ("a-0", "b-0"):
        (tmp_path / "machines" / machine).mkdir(parents=True)
    return done


def test_down_removes_what_it_can_and_tells_what_is_left(tmp_path, platform, run_of_ansible, capsys):
    assert lifecycle.down() == 1
    told = capsys.readouterr().out
    assert "a-0: `ip link delete` exited with 2: busy" in told and "Removed" not in told
    here = State(tmp_path)
    assert platform == ["stop machines", "clean up b-0", f"delete {here.bridge}", "give back"]
    assert not here.directory.exists()
    assert run_of_ansible.wait(timeout=10) != 0, "it would go on against the next platform"


def test_down_does_not_claim_to_have_removed_a_directory_that_is_there(tmp_path, platform, monkeypatch, capsys):
    def busy(path, ignore_errors=False):
        if not ignore_errors:
            raise OSError(16, "Device or resource busy", str(path))

    monkeypatch.setattr(lifecycle.shutil, "rmtree", busy)
    assert lifecycle.down() == 1
    assert f"{tmp_path}: " in (told := capsys.readouterr().out) and "Device or resource busy" in told


def test_up_ends_the_runs_of_one_that_was_killed(platform, run_of_ansible, monkeypatch):
    monkeypatch.setattr(lifecycle, "shortages", lambda _: [])
    monkeypatch.setattr(lifecycle, "_pulumi", lambda *_: run_of_ansible.wait(timeout=10) and 1)
    assert lifecycle.up() == 1


def test_the_hosts_settings_stay_as_long_as_another_platform_needs_them(tmp_path, monkeypatch):
    before = tmp_path / "before.json"
    before.write_text('{"ip_forward": 0}')
    (tmp_path / "ip_forward").write_text("1\n")
    (tmp_path / "net/hp-another").mkdir(parents=True)
    monkeypatch.setattr(host_settings, "BEFORE", before)
    monkeypatch.setattr(host_settings, "_SYSCTL", tmp_path)
    monkeypatch.setattr(host_settings, "_NETWORKS", tmp_path / "net")
    host_settings.give_back()
    assert (tmp_path / "ip_forward").read_text() == "1\n"
    (tmp_path / "net/hp-another").rmdir()
    host_settings.give_back()
    assert (tmp_path / "ip_forward").read_text() == "0\n" and not before.exists()
