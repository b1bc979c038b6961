"""Which golden image a new machine gets, and that whoever builds one takes away the older ones that nobody needs."""

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.machines import images
from infra.machines.state import State
from infra.targets.local import golden_image

DAY = 24 * 3600


def fill(path, name, days_left=30):
    """What a build leaves behind."""
    now = datetime.now(UTC)
    path.mkdir(parents=True, exist_ok=True)
    manifest = {"name": name, "release": "debian-13", "built": now.isoformat()}
    expires = now + timedelta(days=days_left)
    (path / "manifest.json").write_text(json.dumps(manifest | {"expires": expires.isoformat()}))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path / "state"))
    # Whatever it would keep under /run while it works must not outlive the test.
    monkeypatch.setattr(State, "runtime", property(lambda _: tmp_path / "run"))
    # The real build is what make test-image does.
    monkeypatch.setattr(golden_image, "run_streaming", lambda command, cwd: fill(Path(command[6]), command[4]))
    return tmp_path / "images"


def old(cache, image, days):
    fill(cache / image, image.rpartition("-")[0])
    os.utime(cache / image, (time.time() - days * DAY,) * 2)


def test_building_an_image_removes_what_nobody_needs(cache, tmp_path):
    for number in range(1, 5):
        old(cache, f"base-{number}", days=number)
    old(cache, "other-1", days=9)
    machine = tmp_path / "machine"
    machine.mkdir()
    images.claim(cache / "base-4", machine, "hp-1-ledger-0")
    os.utime(cache / "base-4", (time.time() - 4 * DAY,) * 2)
    golden_image.build("base", "debian-13", (), cache / "base-5")
    left = {path.name for path in cache.iterdir() if path.is_dir()}
    assert left == {"base-5", "base-1", "base-4", "other-1"}


def test_what_a_killed_build_goes_on_writing_is_in_no_image(cache, monkeypatch):
    """Only its parent was killed: what runs below `pulumi up` does not always go with it."""
    attempts = []

    def killed(command, cwd):
        attempts.append(Path(command[6]))
        raise KeyboardInterrupt

    def build(command, cwd):
        attempts.append(Path(command[6]))
        (attempts[0] / "root").mkdir(parents=True, exist_ok=True)
        (attempts[0] / "root" / "late").touch()
        fill(attempts[1], "base")

    monkeypatch.setattr(golden_image, "run_streaming", killed)
    with pytest.raises(KeyboardInterrupt):
        golden_image.build("base", "debian-13", (), cache / f"base-{'0' * 16}")
    orphan = subprocess.Popen(["sh", "-c", "read forever", "orphan", attempts[0] / "root"], stdin=subprocess.PIPE)
    monkeypatch.setattr(golden_image, "run_streaming", build)
    golden_image.build("base", "debian-13", (), cache / f"base-{'0' * 16}")
    assert orphan.wait(timeout=60) != 0
    assert not (cache / f"base-{'0' * 16}" / "root").exists()
    monkeypatch.setattr(golden_image, "run_streaming", lambda command, cwd: fill(Path(command[6]), "base"))
    golden_image.build("base", "debian-13", (), cache / f"base-{'1' * 16}")
    assert not attempts[0].exists()


def test_an_image_that_is_used_again_is_kept_for_it(cache):
    for number in range(1, 4):
        old(cache, f"base-{number}", days=number)
    golden_image.build("base", "debian-13", (), cache / "base-3")
    golden_image.build("base", "debian-13", (), cache / "base-4")
    assert (cache / "base-3").is_dir() and not (cache / "base-1").exists()


OUTDATED = {
    "expired": lambda image: fill(image, "base", days_left=-1),
    "deprecated": lambda image: (image / "deprecated.json").write_text('{"reason": "hole"}'),
    "broken": lambda image: (image / "manifest.json").write_text("{"),
}


@pytest.fixture
def unpruned(monkeypatch):
    monkeypatch.setattr(golden_image, "_remove_unneeded", lambda *_: None)


def machine_of(tmp_path, image, name):
    directory = tmp_path / name
    directory.mkdir()
    return images.claim(image, directory, name)


@pytest.mark.parametrize("outdated", OUTDATED.values(), ids=OUTDATED)
def test_a_new_machine_starts_from_no_outdated_image_but_from_a_fresh_one_of_the_same_content(
    cache, tmp_path, unpruned, outdated
):
    image = cache / "base-1"
    assert golden_image.build("base", "debian-13", (), image) == image
    assert machine_of(tmp_path, image, "ledger-0") == image
    assert golden_image.is_intact({"path": str(image)})
    outdated(image)
    assert not golden_image.is_intact({"path": str(image)})
    with pytest.raises(images.ImageGoneError, match="outdated; the same command again"):
        machine_of(tmp_path, image, "too-early")
    inputs = {"name": "base", "release": "debian-13", "roles": [], "path": str(image)}
    golden_image.update(inputs, inputs)
    assert golden_image.is_intact({"path": str(image)})
    assert machine_of(tmp_path, image, "web-0") == cache / "base-1.2"
    assert images.users(image) == ["ledger-0"]
    outdated(cache / "base-1.2")
    assert golden_image.build("base", "debian-13", (), image) == cache / "base-1.3"


def test_an_image_that_is_good_is_not_built_anew(cache, unpruned, monkeypatch):
    image = cache / "base-1"
    golden_image.build("base", "debian-13", (), image)
    OUTDATED["expired"](image)
    golden_image.build("base", "debian-13", (), image)
    (cache / "base-1.0123.building").mkdir()
    fill(cache / "base-11", "base")
    monkeypatch.setattr(golden_image, "run_streaming", lambda *_, **__: pytest.fail("it was built anew"))
    assert golden_image.build("base", "debian-13", (), image) == cache / "base-1.2"


def test_the_second_of_two_builders_takes_what_the_first_has_built(cache, unpruned, monkeypatch):
    image = cache / "base-1"
    fill(image, "base", days_left=-1)
    built = []

    def build(command, cwd):
        built.append(Path(command[6]))
        time.sleep(0.3)
        fill(built[-1], "base")

    monkeypatch.setattr(golden_image, "run_streaming", build)
    with ThreadPoolExecutor() as builders:
        found = [builders.submit(golden_image.build, "base", "debian-13", (), image) for _ in range(2)]
    assert {one.result() for one in found} == {cache / "base-1.2"} and len(built) == 1


def test_an_expired_image_is_pruned_once_no_machine_uses_it(cache, tmp_path):
    image = cache / "base-1"
    fill(image, "base")
    machine_of(tmp_path, image, "ledger-0")
    old(cache, "base-2", days=1)
    old(cache, "base-3", days=1)
    OUTDATED["expired"](image)
    os.utime(image, (time.time() - 2 * DAY,) * 2)
    golden_image.build("base", "debian-13", (), image)
    assert image.is_dir()
    images.release(tmp_path / "ledger-0", "ledger-0")
    golden_image.build("base", "debian-13", (), cache / "base-4")
    assert not image.exists() and (cache / "base-1.2").is_dir()


def test_stock_debian_has_no_day_on_which_it_expires(cache, tmp_path):
    (cache / "stock-1").mkdir(parents=True)
    assert machine_of(tmp_path, cache / "stock-1", "ledger-0") == cache / "stock-1"
