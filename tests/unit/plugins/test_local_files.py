"""hybrid.platform.local_files"""

import pytest

from plugins.action import local_files


def test_a_file_is_replaced_in_one_step_and_its_directory_made(tmp_path):
    path = tmp_path / "evidence" / "run" / "host.json"
    local_files.write(str(path), "{}\n")
    local_files.write(str(path), '{"result": "patched"}\n')
    assert path.read_text() == '{"result": "patched"}\n'
    assert path.stat().st_mode & 0o777 == 0o644
    assert [left.name for left in path.parent.iterdir()] == ["host.json"]


def test_a_path_may_start_where_ansible_was_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    local_files.write("manifest.json", "{}\n")
    assert (tmp_path / "manifest.json").read_text() == "{}\n"


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "host.json"
    local_files.write(str(path), "{}\n")
    with pytest.raises(UnicodeEncodeError):
        local_files.write(str(path), "\ud800")
    assert path.read_text() == "{}\n" and [left.name for left in tmp_path.iterdir()] == ["host.json"]
