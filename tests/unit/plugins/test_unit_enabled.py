"""hybrid.platform.unit_current enables what is to start at boot; a stand-in speaks for systemd."""

import os

import pytest

from plugins.modules import unit_current

SYSTEMCTL = """#!/bin/sh
echo "$@" >>{directory}/calls
case "$*" in
    *UnitFileState*) printf 'UnitFileState=%s\\n\\n' {states} ;;
    show*) echo ActiveState=active; echo SubState=running; echo ActiveEnterTimestampMonotonic=1 ;;
esac
"""


@pytest.fixture
def enabling(call, tmp_path, monkeypatch):
    """Runs the module on units in these states; returns what it told, and what it called."""

    def run(*states, check=False):
        (tmp_path / "systemctl").write_text(SYSTEMCTL.format(directory=tmp_path, states=" ".join(map(repr, states))))
        (tmp_path / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        units = [{"name": f"{number}.service", "files": [], "enabled": True} for number, _ in enumerate(states)]
        result = call(unit_current, check=check, units=units)
        return result, [line for line in (tmp_path / "calls").read_text().splitlines() if line.startswith("enable")]

    return run


def test_exactly_what_does_not_start_at_boot_is_enabled(enabling):
    result, calls = enabling("enabled", "disabled", "static", "")
    assert result["enabled"] == ["1.service", "3.service"] and result["changed"]
    assert calls == ["enable --quiet 1.service 3.service"]


def test_what_starts_at_boot_is_left_alone(enabling):
    result, calls = enabling("enabled", "static")
    assert (result["changed"], calls) == (False, [])


def test_in_a_chroot_units_are_enabled_and_not_looked_at_otherwise(call, tmp_path, monkeypatch):
    (tmp_path / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n[ "$1" != is-enabled ] || echo disabled\n'
    )
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = call(
        unit_current, running=False, units=[{"name": "a.service", "files": [], "enabled": True, "start": True}]
    )
    assert (result["enabled"], result["renewed"]) == (["a.service"], [])
    assert (tmp_path / "calls").read_text().splitlines() == ["is-enabled a.service", "enable --quiet a.service"]


def test_check_mode_only_tells(enabling):
    result, calls = enabling("disabled", check=True)
    assert (result["enabled"], calls) == (["0.service"], [])
