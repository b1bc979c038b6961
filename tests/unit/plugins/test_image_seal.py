"""hybrid.platform.image_seal"""

from plugins.modules import image_seal


def make(root):
    (root / "log").mkdir()
    (root / "log" / "a.log").write_text("x")
    (root / "log" / ".hidden").write_text("x")
    (root / "machine-id").write_text("0123")
    return {"remove": [f"{root}/log/*", f"{root}/log/.[!.]*"], "empty": [f"{root}/machine-id", f"{root}/new"]}


def test_seals_and_proves_it(call, tmp_path):
    what = make(tmp_path)
    assert call(image_seal, **what)["changed"]
    assert list((tmp_path / "log").iterdir()) == []
    assert (tmp_path / "machine-id").read_text() == (tmp_path / "new").read_text() == ""
    assert not call(image_seal, check=True, **what)["changed"]


def test_check_mode_tells_what_is_left_and_touches_nothing(call, tmp_path):
    what = make(tmp_path)
    result = call(image_seal, check=True, **what)
    assert len(result["removed"]) == 2 and len(result["emptied"]) == 2
    assert (tmp_path / "machine-id").read_text() == "0123"


def test_a_link_is_replaced_not_followed(call, tmp_path):
    target = tmp_path / "target"
    target.write_text("keep")
    (tmp_path / "machine-id").symlink_to(target)
    call(image_seal, remove=[], empty=[f"{tmp_path}/machine-id"])
    assert target.read_text() == "keep" and not (tmp_path / "machine-id").is_symlink()
