"""hybrid.platform.image_directory: the lives of golden images."""

import datetime
import fcntl
import json
import os
import subprocess

import pytest

from infra.machines import images as claims
from plugins.modules import image_directory

NOW = datetime.datetime.now(datetime.UTC)


class Directory:
    """Images in a directory; `age` in hours since somebody last used one."""

    def __init__(self, path, call):
        self.path, self.call = path, call

    def add(self, image, days_left=10, age=0.0):
        path = self.path / image
        path.mkdir()
        (path / "root").mkdir()
        self.expire(image, days_left)
        self.age(image, age)
        return path

    def expire(self, image, days_left):
        expires = NOW + datetime.timedelta(days=days_left)
        manifest = {"name": image.rpartition("-")[0], "release": "debian-13"}
        manifest |= {"built": (expires - datetime.timedelta(days=30)).isoformat(), "expires": expires.isoformat()}
        (self.path / image / "manifest.json").write_text(json.dumps(manifest))

    def age(self, image, hours):
        then = NOW.timestamp() - hours * 3600
        os.utime(self.path / image, (then, then))

    def do(self, action="list", image=None, **more):
        given = {"image": image} if image else {}
        return self.call(image_directory, directory=str(self.path), action=action, **given, **more)

    def stages(self):
        return {one["image"]: one["stage"] for one in self.do()["images"]}

    def machine(self, image, name="hp-1-ledger-0"):
        directory = self.path.parent / "machines" / name
        directory.mkdir(parents=True, exist_ok=True)
        claims.claim(self.path / image, directory, name)
        return directory


@pytest.fixture
def images(tmp_path, call):
    path = tmp_path / "images"
    path.mkdir()
    return Directory(path, call)


def test_candidate_becomes_current_and_current_becomes_previous_and_back(images):
    for image in ("base-1", "base-2", "base-3", "other-1"):
        images.add(image)
    assert set(images.stages().values()) == {"candidate"}
    assert images.do("promote", "base-1")["changed"]
    assert not images.do("promote", "base-1")["changed"]
    images.do("promote", "base-2")
    images.do("promote", "base-3")
    assert images.stages() == {
        "base-1": "candidate",
        "base-2": "previous",
        "base-3": "current",
        "other-1": "candidate",
    }
    assert (images.path / "base.current").resolve().name == "base-3"
    images.do("promote", "base-2")
    assert images.stages()["base-2"] == "current" and images.stages()["base-3"] == "previous"


def test_neither_an_expired_nor_a_deprecated_image_is_promoted(images, failure):
    images.add("base-1", days_left=-1)
    images.add("base-2")
    images.do("deprecate", "base-2", reason="old kernel")
    with pytest.raises(failure, match="base-1 expired on"):
        images.do("promote", "base-1")
    with pytest.raises(failure, match="base-2 is deprecated: old kernel"):
        images.do("promote", "base-2")
    with pytest.raises(failure, match="there is no image base-9"):
        images.do("promote", "base-9")


def test_the_current_image_is_neither_deprecated_nor_deleted(images, failure):
    images.add("base-1")
    images.do("promote", "base-1")
    for action in ("deprecate", "delete"):
        with pytest.raises(failure, match="base-1 is the current one"):
            images.do(action, "base-1")


def test_a_deprecated_previous_image_is_no_way_back_any_more(images):
    images.add("base-1")
    images.add("base-2")
    images.do("promote", "base-1")
    images.do("promote", "base-2")
    assert images.do("deprecate", "base-1", reason="hole")["changed"]
    assert not images.do("deprecate", "base-1", reason="hole")["changed"]
    assert images.stages() == {"base-1": "deprecated", "base-2": "current"}
    assert not (images.path / "base.previous").is_symlink()


def test_an_image_in_use_is_not_deleted_until_its_machine_is_gone(images, failure):
    images.add("base-1")
    machine = images.machine("base-1")
    with pytest.raises(failure, match="base-1 is in use by hp-1-ledger-0"):
        images.do("delete", "base-1")
    claims.release(machine, "hp-1-ledger-0")
    assert images.do("delete", "base-1")["removed"] == ["base-1"]
    assert not (images.path / "base-1").exists()


def test_the_name_of_no_image_is_refused_with_those_that_there_are(images, failure):
    with pytest.raises(failure, match=r"there is no image base-1 in .*; there are none"):
        images.do("delete", "base-1")
    images.add("base-1")
    (images.add("base-3") / "manifest.json").write_text("{")
    for action in ("delete", "promote", "deprecate"):
        with pytest.raises(failure, match=r"there is no image base-2 in .*; there are base-1, base-3"):
            images.do(action, "base-2")


def test_a_machine_whose_directory_was_removed_or_has_another_image_uses_the_old_one_no_more(images):
    images.add("base-1")
    images.add("base-2")
    machine = images.machine("base-1")
    images.machine("base-2")
    users = {one["image"]: one["users"] for one in images.do()["images"]}
    assert users == {"base-1": [], "base-2": ["hp-1-ledger-0"]}
    (machine / "image").unlink()
    assert images.do()["images"][1]["users"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("mount", ["--bind {}/root", "--bind {}", "-t overlay -o lowerdir={}/root:/usr overlay",
                                   "-t overlay -o lowerdir={}:/usr overlay"])  # fmt: skip
def test_an_image_that_is_mounted_anywhere_is_in_use(images, failure, mount):
    """Also where nobody said so; an older version of the platform does not."""
    path = images.add("base-11")
    images.add("base-1")
    (images.path.parent / "mounts").mkdir()
    command = f"mount {mount.format(path)} {images.path.parent}/mounts && echo mounted && exec cat"
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"mounted\n"
        with pytest.raises(failure, match="base-11 is in use by a mount"):
            images.do("delete", "base-11")
        assert images.do("delete", "base-1")["changed"]
    finally:
        holder.communicate()
    assert images.do("delete", "base-11")["changed"]


def test_pruning_leaves_what_is_staged_used_fresh_or_among_the_last(images):
    for image, age in (("a-1", 90), ("a-2", 80), ("a-3", 70), ("a-4", 60), ("a-5", 50), ("a-6", 1), ("b-1", 99)):
        images.add(image, age=age)
    images.do("promote", "a-1")
    images.machine("a-3")
    images.age("a-1", 90)
    images.age("a-3", 70)
    assert images.do("prune", keep=2)["removed"] == ["a-4", "a-2"]
    assert not images.do("prune", keep=2)["changed"]
    assert images.do("prune", keep=0)["removed"] == ["a-5", "b-1"]
    assert sorted(images.stages()) == ["a-1", "a-3", "a-6"]


def test_a_deprecated_image_takes_no_place_from_those_that_pruning_keeps(images):
    for image, age in (("a-1", 90), ("a-2", 80), ("a-3", 70), ("a-4", 60)):
        images.add(image, age=age)
    before = (images.path / "a-4").stat().st_mtime
    images.do("deprecate", "a-4", reason="hole")
    assert (images.path / "a-4").stat().st_mtime == before
    assert images.do("prune", keep=2)["removed"] == ["a-4", "a-1"]


def test_fewer_than_none_cannot_be_kept(images, failure):
    images.add("a-1", age=90)
    with pytest.raises(failure, match="-1 images cannot be kept"):
        images.do("prune", keep=-1)
    assert images.stages() == {"a-1": "candidate"}


def test_what_is_being_built_is_no_image(images, failure):
    """Also when its manifest is written already: it may still be looked at, or its builder be dead."""
    images.add("a-1", age=90)
    images.add("a-2.0123abcd.building", age=80)
    assert images.stages() == {"a-1": "candidate"}
    with pytest.raises(failure, match=r"there is no image a-2\.0123abcd\.building"):
        images.do("promote", "a-2.0123abcd.building")
    assert not images.do("prune", keep=1)["changed"]


@pytest.mark.parametrize(
    "manifest",
    [
        *("", "{", "[]", "{}", '{"name": "a", "release": "debian-13", "built": "", "expires": "soon"}'),
        '{"name": "team/a", "release": "debian-13", "built": "", "expires": "2126-11-30T00:00:00+00:00"}',
    ],
)
def test_an_image_with_a_broken_manifest_is_left_out_with_a_warning(images, manifest, monkeypatch, failure):
    warnings = []
    monkeypatch.setattr(image_directory.AnsibleModule, "warn", lambda _, text: warnings.append(text))
    images.add("a-1")
    (images.add("a-2") / "manifest.json").write_text(manifest)
    assert images.do("promote", "a-1")["changed"]
    assert images.stages() == {"a-1": "current"}
    assert len(warnings) == 2
    assert all(text.startswith("a-2 is left out, since its manifest cannot be read: ") for text in warnings)
    with pytest.raises(failure, match="the manifest of a-2 cannot be read: "):
        images.do("promote", "a-2")


def test_an_image_with_a_broken_manifest_is_deleted_unless_it_is_current_or_in_use(images, failure):
    for image in ("a-1", "a-2", "a-3"):
        images.add(image)
    machine = images.machine("a-3")
    for image in ("a-1", "a-2"):
        images.do("promote", image)
    for image in ("a-1", "a-2", "a-3"):
        (images.path / image / "manifest.json").write_text('{"name": "a-')
    with pytest.raises(failure, match="a-2 is the current one"):
        images.do("delete", "a-2")
    with pytest.raises(failure, match="a-3 is in use by hp-1-ledger-0"):
        images.do("delete", "a-3")
    claims.release(machine, "hp-1-ledger-0")
    told = images.call(image_directory, check=True, directory=str(images.path), action="delete", image="a-3")
    assert told["removed"] == ["a-3"] and (images.path / "a-3").is_dir()
    for image in ("a-1", "a-3"):
        assert images.do("delete", image)["removed"] == [image]
    assert sorted(path.name for path in images.path.iterdir()) == [claims.LOCK, "a-2", "a.current"]


def test_a_directory_that_is_not_there_is_told_with_the_name_of_the_variable(call, tmp_path, failure):
    with pytest.raises(failure, match=r"there is no directory .*/none; .* takes another one as image_directory"):
        call(image_directory, directory=str(tmp_path / "none"))


class Killed(Exception):
    """In the place of a signal."""


def kill_at(monkeypatch, module, function, calls):
    """Let the process end instead of the given call of the function."""
    real, count = getattr(module, function), iter(range(1, 100))

    def killed(*arguments, **more):
        if next(count) == calls:
            raise Killed
        return real(*arguments, **more)

    monkeypatch.setattr(module, function, killed)


def test_a_promotion_that_was_killed_leaves_the_old_image_and_is_finished(images, monkeypatch):
    for image in ("a-1", "a-2"):
        images.add(image)
    images.do("promote", "a-1")
    with monkeypatch.context() as context:
        kill_at(context, image_directory, "point", 2)
        with pytest.raises(Killed):
            images.do("promote", "a-2")
    links = [images.path / f"a.{stage}" for stage in ("current", "previous")]
    assert [str(link.readlink()) for link in links] == ["a-1", "a-1"]
    with monkeypatch.context() as context:
        kill_at(context, image_directory.os, "replace", 1)
        with pytest.raises(Killed):
            images.do("promote", "a-2")
    assert images.do("promote", "a-2")["changed"]
    assert images.stages() == {"a-1": "previous", "a-2": "current"}


def test_a_deprecation_that_was_killed_is_finished(images, monkeypatch):
    for image in ("a-1", "a-2"):
        images.add(image)
        images.do("promote", image)
    with monkeypatch.context() as context:
        kill_at(context, image_directory.os, "unlink", 1)
        with pytest.raises(Killed):
            images.do("deprecate", "a-1", reason="hole")
    assert images.do("deprecate", "a-1", reason="hole")["changed"]
    assert images.stages() == {"a-1": "deprecated", "a-2": "current"}


def test_a_previous_image_that_is_deleted_leaves_no_link(images):
    for image in ("a-1", "a-2"):
        images.add(image)
        images.do("promote", image)
    images.do("delete", "a-1")
    assert not (images.path / "a.previous").is_symlink()


def test_an_image_loses_its_name_before_it_loses_its_files(images, monkeypatch):
    images.add("a-1")
    with monkeypatch.context() as context:
        kill_at(context, image_directory.shutil, "rmtree", 1)
        with pytest.raises(Killed):
            images.do("delete", "a-1")
    assert images.stages() == {} and not (images.path / "a-1").exists()
    images.do("prune")
    assert [path.name for path in images.path.iterdir()] == [claims.LOCK]


def test_check_mode_tells_and_changes_nothing(images):
    images.add("base-1", age=90)
    told = images.call(image_directory, check=True, directory=str(images.path), action="prune", keep=0)
    assert told["changed"] and told["removed"] == ["base-1"]
    told = images.call(image_directory, check=True, directory=str(images.path), action="promote", image="base-1")
    assert told["changed"]
    assert images.stages() == {"base-1": "candidate"}


@pytest.mark.parametrize("action", [{"action": "prune"}, {"action": "delete", "image": "base-1"}])
def test_a_deletion_that_was_killed_is_finished(images, action):
    images.add("base-1")
    (images.path / "base-1").rename(images.path / "base-1.removing")
    assert images.stages() == {}
    told = images.call(image_directory, check=True, directory=str(images.path), **action)
    assert told["removed"] == ["base-1"] and (images.path / "base-1.removing").is_dir()
    told = images.do(**action)
    assert told["changed"] and told["removed"] == ["base-1"]
    assert not (images.path / "base-1.removing").exists()


def test_a_change_waits_for_another_one(images, monkeypatch, failure):
    images.add("base-1")
    monkeypatch.setattr(image_directory.locked.__wrapped__, "__defaults__", (0.2,))
    with (images.path / claims.LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(failure, match="another run"):
            images.do("delete", "base-1")
    assert images.do("delete", "base-1")["changed"]


def test_an_image_that_went_meanwhile_gives_no_machine(images):
    machine = images.path.parent / "machine"
    machine.mkdir()
    with pytest.raises(claims.ImageGoneError, match="is gone"):
        claims.claim(images.path / "base-1", machine, "m")


def test_machines_on_an_expired_image_are_reported(images):
    images.add("base-1")
    images.add("base-2")
    images.machine("base-1", "hp-1-ledger-0")
    images.expire("base-1", days_left=-3)
    images.machine("base-2", "hp-1-web-0")
    found = images.do()
    assert [(one["machine"], one["image"]) for one in found["machines_on_expired_images"]] == [
        ("hp-1-ledger-0", "base-1")
    ]
    assert {one["image"]: one["expired"] for one in found["images"]} == {"base-1": True, "base-2": False}
