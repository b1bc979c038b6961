"""hybrid.platform.image_seal"""

import os
from pathlib import Path

import pytest

from plugins.modules import image_seal

# Of root, in every image.
HOME = "/root"


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


@pytest.mark.parametrize("target", ["/run/resolve/stub.conf", "../" * 20 + "run/resolve/stub.conf"])
def test_a_link_to_what_each_machine_makes_at_boot_stays(call, tmp_path, target):
    (tmp_path / "resolv.conf").symlink_to(target)
    assert not call(image_seal, remove=[], empty=[f"{tmp_path}/resolv.conf"])["changed"]
    assert str((tmp_path / "resolv.conf").readlink()) == str(Path(target))


def test_logs_lose_their_content_and_keep_what_services_need_of_them(call, tmp_path):
    deep = tmp_path / "log" / "amazon" / "ssm"
    deep.mkdir(parents=True)
    (deep / "audits").write_text("x")
    (deep / "audits").chmod(0o640)
    (deep / ".hidden").write_text("x")
    (deep / "empty").touch()
    inode = (deep / "empty").stat().st_ino
    with (deep / "audits").open("a") as writer:
        told = call(image_seal, remove=[], logs=[f"{tmp_path}/log"])
        writer.write("whoever runs goes on writing")
    assert told["emptied"] == [f"{deep}/.hidden", f"{deep}/audits"]
    assert [path.read_text() for path in sorted(deep.iterdir())] == ["", "", ""]
    assert (deep / "audits").stat().st_mode & 0o777 == 0o640 and (deep / "empty").stat().st_ino == inode
    assert not call(image_seal, check=True, remove=[], logs=[f"{tmp_path}/log"])["changed"]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_logs_keep_their_owner(call, tmp_path):
    (tmp_path / "a").write_text("x")
    os.chown(tmp_path / "a", 12, 34)
    call(image_seal, remove=[], logs=[str(tmp_path)])
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (12, 34)


def test_what_is_kept_stays_with_what_is_below_and_above_it(call, tmp_path):
    for directory in ("home/.ssh", "journal/id"):
        (tmp_path / directory).mkdir(parents=True)
    for file in ("home/.ssh/key", "journal/id/a", "log", "machine-id"):
        (tmp_path / file).write_text("x")
    what = {"remove": [f"{tmp_path}/home", f"{tmp_path}/home/.ssh/*", f"{tmp_path}/journal/*"]}
    what |= {"empty": [f"{tmp_path}/machine-id"], "logs": [str(tmp_path)]}
    keep = [f"{tmp_path}/home/.ssh/*", f"{tmp_path}/journal/*", f"{tmp_path}/machine-id"]
    told = call(image_seal, **what, keep=keep)
    assert told["removed"] == [] and told["emptied"] == [f"{tmp_path}/log"]
    assert (tmp_path / "home/.ssh/key").read_text() == (tmp_path / "journal/id/a").read_text() == "x"
    assert not call(image_seal, check=True, **what, keep=keep)["changed"]


def test_what_sealing_does_not_know_cannot_be_kept(call, tmp_path, failure):
    what = make(tmp_path)
    told = rf"does not know {HOME}/\.shh/\*, so it cannot keep that; it knows .*/machine-id"
    with pytest.raises(failure, match=told):
        call(image_seal, **what, keep=[f"{HOME}/.shh/*", *what["empty"]])
    assert (tmp_path / "machine-id").read_text() == "0123"
