"""hybrid.platform.files"""

import pytest

from plugins.modules import files


def test_files_are_written_once(call, tmp_path):
    wanted = [{"path": str(tmp_path / "a" / name), "content": name, "mode": "0600"} for name in ("x", "y")]
    assert call(files, files=wanted)["changed_paths"] == [item["path"] for item in wanted]
    assert (tmp_path / "a" / "x").read_text() == "x"
    assert (tmp_path / "a" / "x").stat().st_mode & 0o777 == 0o600
    assert not call(files, files=wanted)["changed"]


def test_check_mode_tells_and_writes_nothing(call, tmp_path):
    target = tmp_path / "x"
    wanted = [{"path": str(target), "content": "new"}]
    result = call(files, check=True, diff=True, files=wanted)
    assert result["changed"] and result["diff"][0]["after"] == "new"
    assert "diff" not in call(files, check=True, files=wanted), "nobody has asked what is in it"
    assert not target.exists()


def test_wrong_mode_alone_is_put_right(call, tmp_path):
    target = tmp_path / "x"
    target.write_text("same")
    target.chmod(0o666)
    assert call(files, files=[{"path": str(target), "content": "same"}])["changed"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_file_that_is_not_valid_stays_as_it_was(call, tmp_path, failure):
    target = tmp_path / "x"
    target.write_text("good")
    with pytest.raises(failure, match="was left as it is"):
        call(files, files=[{"path": str(target), "content": "bad", "validate": "grep -q good %s"}])
    assert target.read_text() == "good"


def test_what_an_administrator_wrote_stays(call, tmp_path):
    target = tmp_path / "x"
    target.write_text("theirs")
    target.chmod(0o666)
    wanted = [{"path": str(target), "content": "ours", "replace": False, "mode": "0600"}]
    assert call(files, files=wanted)["changed"]
    assert target.read_text() == "theirs" and target.stat().st_mode & 0o777 == 0o600
    assert not call(files, files=wanted)["changed"]


def test_permissions_of_what_exists_only(call, tmp_path):
    (tmp_path / "directory").mkdir(mode=0o755)
    wanted = [{"path": str(tmp_path / name), "state": "existing", "mode": "0700"} for name in ("directory", "no")]
    assert call(files, files=wanted)["changed_paths"] == [str(tmp_path / "directory")]
    assert (tmp_path / "directory").stat().st_mode & 0o777 == 0o700 and not (tmp_path / "no").exists()


def test_a_file_that_must_not_be_there_goes(call, tmp_path):
    target = tmp_path / "x"
    target.write_text("x")
    assert call(files, files=[{"path": str(target), "state": "absent"}])["changed"]
    assert not target.exists()
    assert not call(files, files=[{"path": str(target), "state": "absent"}])["changed"]


def test_what_a_pattern_matches_loses_permissions_and_gains_none(call, tmp_path):
    for name, mode in (("open", 0o664), ("closed", 0o600), ("setgid", 0o2755)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "directory").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    wanted = [{"path": f"{tmp_path}/*", "state": "tightened", "mode": "0640"}]
    assert call(files, check=True, files=wanted)["changed_paths"] == [f"{tmp_path}/open", f"{tmp_path}/setgid"]
    assert (tmp_path / "open").stat().st_mode & 0o7777 == 0o664
    call(files, files=wanted)
    modes = {name: (tmp_path / name).stat().st_mode & 0o7777 for name in ("open", "closed", "setgid", "directory")}
    assert modes == {"open": 0o640, "closed": 0o600, "setgid": 0o2640, "directory": 0o755}
    assert not call(files, files=wanted)["changed"]


def test_a_slash_at_its_end_makes_a_pattern_one_of_directories(call, tmp_path):
    (tmp_path / "directory").mkdir(mode=0o755)
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(0o666)
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    wanted = [{"path": f"{tmp_path}/*/", "state": "tightened", "mode": "0750"}]
    assert call(files, files=wanted)["changed_paths"] == [f"{tmp_path}/directory"]
    assert (tmp_path / "directory").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("item", [{"state": "existing"}, {"content": "new", "replace": False}, {"content": "secret"}])
def test_of_what_is_only_closed_no_content_is_told(call, tmp_path, item):
    target = tmp_path / "shadow-"
    target.write_text("secret")
    target.chmod(0o644)
    result = call(files, diff=True, files=[{"path": str(target), "mode": "0600", **item}])
    assert [(one["before"], one["after"]) for one in result["diff"]] == [("mode: 0644\n", "mode: 0600\n")]
    assert "secret" not in str(result["diff"])


def test_what_cannot_be_tightened_is_told_and_the_rest_is(call, tmp_path, monkeypatch):
    for name in ("by NFS", "here"):
        (tmp_path / name).mkdir(mode=0o755)

    def chmod(path, mode, change=files.os.chmod):
        if path.endswith("by NFS"):
            raise PermissionError(1, "Operation not permitted")
        change(path, mode)

    told = []
    monkeypatch.setattr(files.AnsibleModule, "warn", lambda module, text: told.append(text))
    monkeypatch.setattr(files.os, "chmod", chmod)
    result = call(files, files=[{"path": f"{tmp_path}/*/", "state": "tightened", "mode": "0750"}])
    assert result["changed_paths"] == [f"{tmp_path}/here"]
    assert f"{tmp_path}/by NFS keeps its mode 0755: Operation not permitted" in told
