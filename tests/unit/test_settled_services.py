"""A service must not go on with files older than those on the disk."""

import datetime
import os
import time

import pytest

from plugins.modules import settled_services


def properties(started: datetime.datetime | None, state: str = "active", enabled: str = "enabled") -> dict[str, str]:
    stamp = started.strftime("%a %Y-%m-%d %H:%M:%S.%f UTC") if started else ""
    return {
        "ActiveState": state,
        "UnitFileState": enabled,
        "FragmentPath": "",
        "InactiveExitTimestamp": stamp,
        "NeedDaemonReload": "no",
    }


def test_the_start_is_read_to_the_microsecond():
    moment = datetime.datetime(2026, 11, 23, 9, 22, 11, 123456, tzinfo=datetime.UTC)
    assert settled_services.started_at(properties(moment)) == pytest.approx(moment.timestamp(), abs=1e-6)


def test_a_service_that_never_started_is_older_than_any_file(tmp_path):
    (tmp_path / "file").touch()
    assert settled_services.started_at(properties(None)) < settled_services.last_change([str(tmp_path / "file")])


def test_a_copy_that_keeps_an_old_modification_time_is_a_change(tmp_path):
    before = time.time() - 1
    (tmp_path / "program").touch()
    os.utime(tmp_path / "program", (0, 0))
    assert settled_services.last_change([str(tmp_path / "program")]) > before


def test_missing_files_do_not_count(tmp_path):
    assert settled_services.last_change([str(tmp_path / "none")]) == 0.0


def test_values_with_equals_signs_are_kept_whole():
    assert settled_services.parse_properties("A=b=c\nD=\n") == {"A": "b=c", "D": ""}
