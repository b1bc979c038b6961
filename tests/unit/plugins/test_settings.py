"""hybrid.platform.settings"""

import pytest

from plugins.modules import settings


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "UMASK 027\n"),
        ("A 1\nUMASK\t\t022\nB 2\n", "A 1\nUMASK 027\nB 2\n"),
        ("UMASK 022\nB 2\nUMASK 077\n", "UMASK 027\nB 2\n"),
        ("# UMASK is the mask.\n#UMASK 022\nB 2\n", "# UMASK is the mask.\n#UMASK 022\nUMASK 027\nB 2\n"),
        ("UMASK_OTHER 1\n", "UMASK_OTHER 1\nUMASK 027\n"),
        ("UMASK\t027 # kept as it is written\n", "UMASK\t027 # kept as it is written\n"),
    ],
)
def test_a_key_is_set_in_exactly_one_place(before, after):
    assert settings.edit(before, " ", "", {"UMASK": "027"}) == after


def test_a_key_may_stand_alone():
    assert settings.edit("# enforce_for_root\n", " = ", "", {"enforce_for_root": None}).endswith("\nenforce_for_root\n")


def test_file_and_mode(call, tmp_path):
    target = tmp_path / "a.conf"
    target.write_text("#Storage=auto\n")
    target.chmod(0o640)
    wanted = [{"path": str(target), "separator": "=", "values": {"Storage": "persistent"}}]
    assert call(settings, check=True, files=wanted)["changed"] and "persistent" not in target.read_text()
    assert call(settings, files=wanted)["changed_paths"] == [str(target)]
    assert target.read_text() == "#Storage=auto\nStorage=persistent\n" and target.stat().st_mode & 0o777 == 0o640
    assert not call(settings, files=wanted)["changed"]


def test_a_missing_file_gets_its_section(call, tmp_path):
    target = tmp_path / "d" / "a.conf"
    call(settings, files=[{"path": str(target), "separator": "=", "header": "[Time]", "values": {"NTP": "a b"}}])
    assert target.read_text() == "[Time]\nNTP=a b\n"
