"""The image of a program is built once for its source, whoever asks again with whatever compiler."""

from pathlib import Path

from infra.targets.local import container_image

INPUTS = {"name": "web-image", "program": "web", "port": 8080, "source": "0123456789abcdef0123"}


def compiler(monkeypatch, content):
    def compile_program(workloads, program, output, *, go):
        output.mkdir(parents=True, exist_ok=True)
        (output / program).write_bytes(content)
        return output / program

    monkeypatch.setattr(container_image.oci_image, "compile_program", compile_program)


def test_another_compiler_does_not_change_the_image_that_a_platform_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path))
    compiler(monkeypatch, b"of one compiler")
    first = container_image.create(INPUTS)
    compiler(monkeypatch, b"of another")
    assert container_image.create(INPUTS) == first
    assert container_image.is_intact(INPUTS | first)


def test_a_build_that_was_killed_is_done_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path))
    compiler(monkeypatch, b"half")
    first = container_image.create(INPUTS)
    (tmp_path / "containers/web-0123456789abcdef/reference").unlink()
    assert not container_image.is_intact(INPUTS | first)
    compiler(monkeypatch, b"whole")
    second = container_image.create(INPUTS)
    assert second["reference"] != first["reference"]
    assert container_image.is_intact(INPUTS | second) and not container_image.is_intact(INPUTS | first)


def test_an_archive_that_was_lost_is_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path))
    compiler(monkeypatch, b"whole")
    first = container_image.create(INPUTS)
    Path(first["archive"]).unlink()
    assert not container_image.is_intact(INPUTS | first)
    assert container_image.create(INPUTS) == first
    assert container_image.is_intact(INPUTS | first)
