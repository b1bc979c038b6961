"""hybrid.platform.way_back, with a systemd that is played by a few lines."""

import subprocess

import pytest

from plugins.modules import way_back


class Systemd:
    """Remembers what it was asked, enables a unit, and may let the timer fire."""

    def __init__(self, wants):
        self.calls, self.states, self.on_stop, self.wants = [], [], lambda: None, wants

    def run(self, _module, command, **_):
        self.calls.append(" ".join(command))
        if command[1] == "stop":
            self.on_stop()
        if command[1] == "enable":
            self.wants.mkdir(parents=True, exist_ok=True)
            (self.wants / command[-1]).symlink_to(f"../{command[-1]}")
        if command[1] == "show":
            return 0, self.states.pop(0) if self.states else "inactive", ""
        return 0, "", ""


@pytest.fixture
def systemd(monkeypatch, tmp_path):
    systemd = Systemd(tmp_path / "units/sysinit.target.wants")
    monkeypatch.setattr(way_back.AnsibleModule, "run_command", lambda *a, **k: systemd.run(*a, **k))
    monkeypatch.setattr(way_back, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(way_back.time, "sleep", lambda seconds: None)
    return systemd


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "sshd_config"
    file.write_text("former\n")
    return file


@pytest.fixture
def go(call, systemd, settings):
    def run(state, **more):
        if state == "saved":
            more = {"daemon": "ssh.service", "then": "systemctl try-restart ssh.service", "after": 7} | more
        return call(way_back, path=str(settings), unit="revert", state=state, **more)

    return run


def revert(tmp_path):
    """Do what the service does when its time has come."""
    unit = (tmp_path / "units/revert.service").read_text()
    subprocess.run(
        next(line for line in unit.splitlines() if "/mv " in line).removeprefix("ExecStart=").split(), check=True
    )


def test_settings_that_nobody_proves_go_by_themselves(go, settings, systemd, tmp_path):
    assert go("saved")["changed"]
    assert not go("saved")["changed"]
    settings.write_text("new\n")
    go("armed")
    assert "systemctl restart revert.timer" in systemd.calls
    assert "OnActiveSec=7\n" in (tmp_path / "units/revert.timer").read_text()
    revert(tmp_path)
    assert settings.read_text() == "former\n"


def test_a_boot_takes_them_back_before_the_daemon_reads_them(go, systemd, tmp_path):
    go("saved")
    unit = (tmp_path / "units/revert.service").read_text()
    assert "Before=ssh.service " in unit and f"ConditionPathExists={tmp_path}/sshd_config.former\n" in unit
    assert "DefaultDependencies=no\n" in unit and "WantedBy=sysinit.target\n" in unit, "a firewall starts early"
    assert systemd.calls == ["systemctl daemon-reload", "systemctl enable --quiet revert.service"]


def test_a_start_at_boot_that_a_killed_run_has_not_come_to_enable_is_enabled_by_the_next(go, systemd, tmp_path):
    go("saved")
    (tmp_path / "units/sysinit.target.wants/revert.service").unlink()
    systemd.calls.clear()
    assert go("saved")["changed"]
    assert "systemctl enable --quiet revert.service" in systemd.calls


def test_settings_that_were_proved_stay(go, settings, tmp_path):
    go("saved")
    settings.write_text("new\n")
    go("armed")
    go("kept")
    assert settings.read_text() == "new\n" and not (tmp_path / "sshd_config.former").exists()
    assert not go("saved")["pending"]


def test_settings_of_a_run_that_was_killed_are_not_taken_for_proved(go, settings, tmp_path):
    go("saved")
    settings.write_text("of a run that was killed\n")
    assert go("saved")["pending"]
    settings.write_text("new\n")
    revert(tmp_path)
    assert settings.read_text() == "former\n"


def test_a_copy_that_was_killed_is_none(go, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(way_back.os, "replace", lambda *_: pytest.exit("killed"))
    with pytest.raises(BaseException, match="killed"):
        go("saved")
    assert not (tmp_path / "sshd_config.former").exists()


def test_it_is_told_when_the_former_settings_came_back_first(go, settings, systemd, tmp_path, failure):
    go("saved")
    settings.write_text("new\n")
    systemd.on_stop = lambda: revert(tmp_path)
    with pytest.raises(failure, match="came back before"):
        go("kept")


def test_one_that_has_begun_is_waited_for(go, systemd, tmp_path, failure):
    go("saved")
    systemd.states = ["activating", "activating", "inactive"]
    systemd.calls.clear()
    go("kept")
    assert systemd.calls.count("systemctl show --property=ActiveState --value revert.service") == 3


def test_where_there_was_no_file_an_empty_one_comes_back(go, settings, tmp_path):
    settings.unlink()
    go("saved")
    settings.write_text("new\n")
    revert(tmp_path)
    assert settings.read_text() == ""


def test_a_check_tells_of_the_service_and_touches_nothing(go, systemd, tmp_path):
    assert go("saved", check=True)["changed"]
    go("armed", check=True)
    go("kept", check=True)
    assert systemd.calls == [] and not (tmp_path / "units").exists() and not (tmp_path / "sshd_config.former").exists()
