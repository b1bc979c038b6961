"""Whoever builds a golden image takes away the older ones of its name that nobody needs."""

import json
import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.machines import images
from infra.machines.state import State
from infra.targets.local import golden_image

DAY = 24 * 3600


def fill(path, name):
    """What a build leaves behind."""
    now = datetime.now(UTC)
    path.mkdir(parents=True, exist_ok=True)
    manifest = {"name": name, "release": "debian-13", "built": now.isoformat()}
    (path / "manifest.json").write_text(json.dumps(manifest | {"expires": (now + timedelta(days=30)).isoformat()}))


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
