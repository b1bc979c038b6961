"""hybrid.platform.files"""

import getpass
import grp
import os

import pytest

from plugins.modules import files

ME = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}


def test_files_are_written_once(call, tmp_path):
    wanted = [{"path": str(tmp_path / "a" / name), "content": name, "mode": "0600", **ME} for name in ("x", "y")]
    assert call(files, files=wanted)["changed_paths"] == [item["path"] for item in wanted]
    assert (tmp_path / "a" / "x").read_text() == "x"
    assert (tmp_path / "a" / "x").stat().st_mode & 0o777 == 0o600
    assert not call(files, files=wanted)["changed"]


def test_check_mode_tells_and_writes_nothing(call, tmp_path):
    target = tmp_path / "x"
    result = call(files, check=True, files=[{"path": str(target), "content": "new", **ME}])
    assert result["changed"] and result["diff"][0]["after"] == "new"
    assert not target.exists()


def test_wrong_mode_alone_is_put_right(call, tmp_path):
    target = tmp_path / "x"
    target.write_text("same")
    target.chmod(0o666)
    assert call(files, files=[{"path": str(target), "content": "same", **ME}])["changed"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_not_valid_stays_as_it_was(call, tmp_path, failure):
    target = tmp_path / "x"
    target.write_text("good")
    with pytest.raises(failure, match="was left as it is"):
        call(files, files=[{"path": str(target), "content": "bad", "validate": "grep -q good %s", **ME}])
    assert target.read_text() == "good"


def test_former_versions_are_kept_for_an_undo(call, tmp_path):
    old, new, kept = tmp_path / "old", tmp_path / "new", tmp_path / "kept"
    old.write_text("before")
    wanted = [{"path": str(path), "content": "after", **ME} for path in (old, new)]
    call(files, files=wanted, backup_directory=str(kept))
    assert (kept / str(old)[1:]).read_text() == "before"
    assert (kept / (str(new)[1:] + ".absent")).exists()


def test_a_file_that_must_not_be_there_goes(call, tmp_path):
    target = tmp_path / "x"
    target.write_text("x")
    assert call(files, files=[{"path": str(target), "state": "absent"}])["changed"]
    assert not target.exists()
    assert not call(files, files=[{"path": str(target), "state": "absent"}])["changed"]
