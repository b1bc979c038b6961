"""Units are compared with their files by what systemd says of them; here a stand-in speaks for it."""

import os
import time

import pytest

from plugins.modules import unit_current

SYSTEMCTL = """#!/bin/sh
echo "$@" >>{directory}/calls
[ "$1" = show ] && cat {directory}/state
[ "$1" != restart ] || cp {directory}/after {directory}/state
exit 0
"""


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """Sets what systemd shows of the unit now, and after a restart; calls are kept."""
    (tmp_path / "systemctl").write_text(SYSTEMCTL.format(directory=tmp_path))
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(unit_current, "STAMPS", str(tmp_path / "stamps"))

    def say(active, sub="running", since=0.0, after="active"):
        age = int((time.clock_gettime(time.CLOCK_MONOTONIC) - since) * 1e6)
        for name, state in (("state", active), ("after", after)):
            shown = f"ActiveState={state}\nSubState={sub if name == 'state' else 'running'}\n"
            (tmp_path / name).write_text(f"{shown}ActiveEnterTimestampMonotonic={age}\n")
        return tmp_path

    return say


def restarts(directory):
    return [line for line in (directory / "calls").read_text().splitlines() if line.startswith("restart")]


def run(call, file, check=False):
    return call(unit_current, check=check, units=[{"name": "a.service", "files": [str(file)]}])


def test_a_unit_that_is_older_than_its_file_is_restarted_once(call, systemd, tmp_path):
    file = tmp_path / "a.conf"
    file.touch()
    directory = systemd("active", since=60)
    assert run(call, file)["renewed"] == ["a.service"]
    assert run(call, file)["renewed"] == []
    assert len(restarts(directory)) == 1


def test_a_unit_that_is_newer_is_left_alone(call, systemd, tmp_path):
    file = tmp_path / "a.conf"
    file.touch()
    time.sleep(0.02)
    directory = systemd("active", since=0)
    assert run(call, file)["changed"] is False
    assert restarts(directory) == []


@pytest.mark.parametrize(("active", "sub"), [("failed", "failed"), ("activating", "auto-restart")])
def test_a_unit_that_has_died_is_restarted_by_the_next_run(call, systemd, tmp_path, active, sub):
    directory = systemd(active, sub)
    assert run(call, tmp_path / "none")["renewed"] == ["a.service"]
    assert len(restarts(directory)) == 1


def test_a_unit_that_dies_of_its_settings_is_a_failure(call, systemd, tmp_path, failure):
    systemd("failed", "failed", after="failed")
    with pytest.raises(failure, match=r"a\.service does not run on its settings"):
        run(call, tmp_path / "none")


def test_a_unit_that_was_stopped_stays_stopped(call, systemd, tmp_path):
    file = tmp_path / "a.conf"
    file.touch()
    directory = systemd("inactive", "dead")
    assert run(call, file)["changed"] is False
    assert restarts(directory) == []


def test_check_mode_only_tells(call, systemd, tmp_path):
    file = tmp_path / "a.conf"
    file.touch()
    directory = systemd("active", since=60)
    assert run(call, file, check=True)["renewed"] == ["a.service"]
    assert restarts(directory) == []


def test_systemd_itself_takes_new_settings_once(call, systemd, tmp_path):
    file = tmp_path / "a.conf"
    file.touch()
    directory = systemd("active", since=60)
    units = [{"name": "init.scope", "files": [str(file)], "action": "daemon-reload"}]
    assert [call(unit_current, units=units)["renewed"] for _ in range(2)] == [["init.scope"], []]
    assert (directory / "calls").read_text().splitlines().count("daemon-reload") == 1
    assert "init.scope" not in "".join(restarts(directory))
