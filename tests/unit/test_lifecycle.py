"""What `make up` and `make down` make of a pulumi that is at work already, or was."""

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from infra import lifecycle
from infra.machines.state import State


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


def test_a_pulumi_of_another_host_is_never_taken_for_dead(tmp_path, lock):
    file = lock(1, hostname="elsewhere")
    assert lifecycle.is_busy(State(tmp_path))
    assert file.exists()


@pytest.mark.parametrize("command", [lifecycle.up, lifecycle.down])
def test_nothing_is_changed_under_a_pulumi_at_work(tmp_path, lock, working_pulumi, monkeypatch, command):
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path))
    for name in ("_pulumi", "sweep", "_verify"):
        monkeypatch.setattr(lifecycle, name, lambda *_: pytest.fail("went to work under a pulumi at work"))
    file = lock(working_pulumi)
    assert command() == 1
    assert file.exists()
