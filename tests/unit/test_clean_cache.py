"""`make clean-cache` removes what can be made again, and nothing that somebody needs."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from infra import lifecycle
from infra.machines import images
from toolchain.build import only_builder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path / "cache"))
    for directory in ("programs/pulumi-3", "containers/web-1", "images"):
        (tmp_path / "cache" / directory).mkdir(parents=True)
    return tmp_path / "cache"


def image(cache, name, manifest=True):
    path = cache / "images" / name
    (path / "root").mkdir(parents=True)
    now = datetime.now(UTC)
    if manifest:
        what = {"name": name.rpartition("-")[0], "release": "debian-13", "built": now.isoformat()}
        (path / "manifest.json").write_text(json.dumps(what | {"expires": (now + timedelta(days=30)).isoformat()}))
    return path


def machine_of(tmp_path, image):
    directory = tmp_path / "machines" / image.name
    directory.mkdir(parents=True)
    images.claim(image, directory, f"hp-1-{image.name}")
    return directory


def left(cache):
    return {str(path.relative_to(cache)) for path in [*cache.glob("*"), *cache.glob("*/*")] if path.is_dir()}


def test_images_in_use_stay_and_nothing_else(cache, tmp_path):
    for name, manifest in (("base-1", True), ("base-2", True), ("stock-1", False), ("stock-2", False)):
        image(cache, name, manifest)
    for name, manifest in (("base-3.0123abcd.building", False), ("base-4.0123abcd.building", True)):
        image(cache, name, manifest)
    machines = [machine_of(tmp_path, cache / "images" / name) for name in ("base-1", "stock-1")]
    assert lifecycle.clean_cache() == 0
    assert left(cache) == {"images", "images/base-1", "images/stock-1"}
    for machine in machines:
        images.release(machine, f"hp-1-{machine.name}")
    assert lifecycle.clean_cache() == 0
    assert left(cache) == {"images"}


def test_a_promoted_image_stays(cache):
    image(cache, "base-1")
    (cache / "images" / "base.current").symlink_to("base-1")
    assert lifecycle.clean_cache() == 0
    assert left(cache) >= {"images/base-1", "images/base.current"}


def test_what_is_being_built_is_not_taken_from_under_its_builder(cache, capsys):
    image(cache, "base-1")
    before = left(cache)
    with only_builder(cache / "programs", "pulumi", print):
        assert lifecycle.clean_cache() != 0
    assert left(cache) == before
    assert "pulumi is being built" in capsys.readouterr().out
    assert lifecycle.clean_cache() == 0
    assert left(cache) == {"images"}


def test_a_cache_without_images_goes_as_a_whole(cache):
    (cache / "images").rmdir()
    assert lifecycle.clean_cache() == 0
    assert not cache.exists()
