"""Images of the workloads: the same bytes every time, and what a container runtime expects to find in them."""

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from infra.targets.local import oci_image
from infra.targets.local.oci_image import ImageError, build_image, compile_program, source_digest

WORKLOADS = Path(__file__).parents[2] / "workloads"
NAME = "localhost/reference/web"


@pytest.fixture
def binary(tmp_path):
    path = tmp_path / "web"
    path.write_bytes(b"\x7fELF, or so")
    return path


@pytest.fixture
def sources(tmp_path):
    """A program of one page, laid out like workloads/."""
    root = tmp_path / "workloads"
    (root / "hello").mkdir(parents=True)
    (root / "internal").mkdir()
    (root / "go.mod").write_text("module example.test/workloads\n\ngo 1.24\n")
    (root / "go.sum").touch()
    (root / "hello" / "main.go").write_text('package main\n\nfunc main() { println("hello") }\n')
    return root


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}


def parts(archive: Path):
    """Index, manifest, configuration and layer, each found by the digest that its parent names."""

    def blob(descriptor):
        content = files["blobs/" + descriptor["digest"].replace(":", "/")]
        assert hashlib.sha256(content).hexdigest() == descriptor["digest"].removeprefix("sha256:")
        assert len(content) == descriptor["size"]
        return content

    files = members(archive)
    index = json.loads(files["index.json"])
    manifest = json.loads(blob(index["manifests"][0]))
    config = json.loads(blob(manifest["config"]))
    layer = blob(manifest["layers"][0])
    assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]], "the layer is not compressed"
    return index, manifest, config, tarfile.open(fileobj=io.BytesIO(layer))


def test_the_same_program_gives_the_same_bytes(tmp_path, binary):
    first = build_image(NAME, binary, tmp_path / "a.tar")
    binary.touch()
    second = build_image(NAME, binary, tmp_path / "b.tar")
    assert first.archive.read_bytes() == second.archive.read_bytes()
    assert first.reference == second.reference


def test_another_program_gives_another_digest(tmp_path, binary):
    first = build_image(NAME, binary, tmp_path / "a.tar")
    binary.write_bytes(b"something else")
    assert build_image(NAME, binary, tmp_path / "b.tar").digest != first.digest


def test_the_reference_is_the_digest_of_the_manifest_in_the_archive(tmp_path, binary):
    image = build_image(NAME, binary, tmp_path / "web.tar")
    index, *_ = parts(image.archive)
    (entry,) = index["manifests"]
    assert entry["digest"] == image.digest
    assert image.reference == f"{NAME}@{image.digest}"
    assert entry["annotations"]["io.containerd.image.name"] == image.reference


def test_the_image_runs_the_program_and_not_as_root(tmp_path, binary):
    image = build_image(NAME, binary, tmp_path / "web.tar", port=8080)
    _, _, config, layer = parts(image.archive)
    assert config["config"]["Entrypoint"] == ["/web"]
    assert config["config"]["ExposedPorts"] == {"8080/tcp": {}}
    assert int(config["config"]["User"].split(":")[0]) > 0
    program = layer.getmember("web")
    assert program.mode == 0o555
    assert layer.extractfile(program).read() == binary.read_bytes()


def test_docker_finds_its_own_manifest(tmp_path, binary):
    files = members(build_image(NAME, binary, tmp_path / "web.tar").archive)
    (entry,) = json.loads(files["manifest.json"])
    assert entry["Config"] in files
    assert set(entry["Layers"]) <= set(files)


def test_nothing_is_left_when_writing_fails(tmp_path, binary, monkeypatch):
    monkeypatch.setattr(oci_image.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        build_image(NAME, binary, tmp_path / "out" / "web.tar")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_source_digest_follows_the_sources(sources):
    before = source_digest(sources, "hello")
    (sources / "hello" / "main_test.go").write_text("package main\n")
    assert source_digest(sources, "hello") == before, "a test is not part of the program"
    (sources / "internal" / "shared.go").write_text("package internal\n")
    shared = source_digest(sources, "hello")
    assert shared != before
    (sources / "go.sum").write_text("pin\n")
    assert source_digest(sources, "hello") != shared


def test_the_compiled_program_does_not_depend_on_where_it_was_built(sources, tmp_path):
    elsewhere = shutil.copytree(sources, tmp_path / "elsewhere" / "workloads")
    first = compile_program(sources, "hello", tmp_path / "out-1")
    second = compile_program(elsewhere, "hello", tmp_path / "out-2")
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in first.parent.iterdir()] == ["hello"], "no scratch is left"


def test_a_program_that_does_not_compile_says_what_the_compiler_said(sources, tmp_path):
    (sources / "hello" / "main.go").write_text("package main\n\nfunc main() { nowhere() }\n")
    with pytest.raises(ImageError, match=r"undefined: nowhere"):
        compile_program(sources, "hello", tmp_path / "out")


def test_an_unknown_program_is_told_with_the_known_ones(tmp_path):
    with pytest.raises(ImageError, match=r"workloads/nope .* web, worker"):
        compile_program(WORKLOADS, "nope", tmp_path)
