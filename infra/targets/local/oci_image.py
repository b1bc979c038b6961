"""Container images of the workloads in this repository, built without a container engine or a registry.

A static program needs no layers of an operating system: the image is the program alone. The same source gives the same
bytes, so the digest that Kubernetes runs is known before any node has seen the image.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USER = "65532:65532"
"""Nobody in particular; Kubernetes wants a number to see that it is not root."""

_OCI = "application/vnd.oci.image"


class ImageError(RuntimeError):
    """A program that does not compile, with the compiler's words."""


@dataclass(frozen=True)
class Image:
    """An image archive on disk.

    Attributes:
        reference: `name@sha256:…`, what a pod runs and what the node knows it by after the import.
    """

    reference: str
    digest: str
    archive: Path


def source_digest(workloads: Path, program: str) -> str:
    """The digest of everything that goes into a program: its package, what the packages share, and the pins."""
    files = [workloads / "go.mod", workloads / "go.sum"]
    for folder in (workloads / "internal", workloads / program):
        files += [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("_test.go")]
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(workloads)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def compile_program(workloads: Path, program: str, output: Path, *, go: str = "go") -> Path:
    """Compile workloads/<program> to a static binary in `output` and return its path.

    Raises:
        ImageError: if there is no such program or it does not compile.
    """
    if not (workloads / program / "main.go").is_file():
        raise ImageError(f"workloads/{program} holds no main.go; there are: {', '.join(programs(workloads))}")
    output.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOARCH": _goarch()}
    with tempfile.TemporaryDirectory(dir=output, prefix=f".{program}-") as scratch:
        built = Path(scratch, program)
        flags = ["-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="]
        command = [go, "build", *flags, "-o", str(built), f"./{program}"]
        run = subprocess.run(command, cwd=workloads, env=environment, capture_output=True, text=True)
        if run.returncode:
            raise ImageError(f"workloads/{program} does not compile:\n{run.stderr.strip()}")
        return built.replace(output / program)


def programs(workloads: Path) -> list[str]:
    """The programs that this repository can build."""
    return sorted(path.parent.name for path in workloads.glob("*/main.go"))


def build_image(name: str, binary: Path, archive: Path, *, port: int | None = None) -> Image:
    """Write an OCI archive with the program as its only content, and return what to call it.

    Args:
        name: the image's name without tag, e.g. `localhost/reference/web`.
        port: the port that the program listens on.
    """
    layer = _tar([(binary.name, binary.read_bytes(), 0o555)])
    config = _json(
        {
            "architecture": _goarch(),
            "os": "linux",
            "config": {
                "User": USER,
                "Entrypoint": [f"/{binary.name}"],
                "Labels": {"org.opencontainers.image.title": name.rpartition("/")[2]},
                **({"ExposedPorts": {f"{port}/tcp": {}}} if port else {}),
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor(config, "config.v1+json"),
            "layers": [_descriptor(layer, "layer.v1.tar")],
        }
    )
    reference = f"{name}@{_digest(manifest)}"
    # containerd takes the name of an imported image from this annotation: no tag has to be made afterwards.
    named = _descriptor(manifest, "manifest.v1+json") | {"annotations": {"io.containerd.image.name": reference}}
    index = _json({"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [named]})
    blobs = {_blob(content): content for content in (layer, config, manifest)}
    for_docker = _json([{"Config": _blob(config), "RepoTags": [f"{name}:latest"], "Layers": [_blob(layer)]}])
    content = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index, "manifest.json": for_docker}
    _write(archive, _tar((path, data, 0o644) for path, data in sorted((content | blobs).items())))
    return Image(reference, _digest(manifest), archive)


def _tar(members: Iterable[tuple[str, bytes, int]]) -> bytes:
    """An uncompressed archive that depends on nothing but its members; compressors differ from release to release."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folders: set[str] = set()
        for path, content, mode in members:
            for parent in reversed(Path(path).parents[:-1]):
                if str(parent) not in folders:
                    folders.add(str(parent))
                    archive.addfile(_member(str(parent), 0o755, tarfile.DIRTYPE))
            member = _member(path, mode, tarfile.REGTYPE)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _member(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.type = mode, kind
    return member


def _write(path: Path, content: bytes) -> None:
    """Whoever sees the file sees all of it, also after a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as scratch:
        try:
            scratch.write(content)
            scratch.flush()
            os.fsync(scratch.fileno())
            Path(scratch.name).replace(path)
        except BaseException:
            Path(scratch.name).unlink(missing_ok=True)
            raise


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _blob(content: bytes) -> str:
    return f"blobs/{_digest(content).replace(':', '/')}"


def _descriptor(content: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": f"{_OCI}.{kind}", "digest": _digest(content), "size": len(content)}


def _goarch() -> str:
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
