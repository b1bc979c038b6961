"""A container image of a program under workloads/, as a resource."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.machines.state import PROJECT, write_atomically
from infra.targets.local import oci_image
from infra.targets.local.dynamic import ModuleProvider, Values
from toolchain.build import cache_directory, find_go, only_builder

REPLACE_ON: tuple[str, ...] = ()
WORKLOADS = PROJECT / "workloads"


class ContainerImage(Resource, module="local", name="ContainerImage"):
    """Attributes:
    reference: name@sha256:…, by which pods run it.
    archive: file that nodes import.
    """

    reference: pulumi.Output[str]
    archive: pulumi.Output[str]

    def __init__(self, name: str, program: str, port: int, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "name": name,
            "program": program,
            "port": port,
            "source": oci_image.source_digest(WORKLOADS, program),
            "reference": None,
            "archive": None,
        }
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def create(inputs: Values) -> Values:
    """Built once for each source, and never written again: another compiler makes other bytes of the same source, and
    the digest by which a running platform knows its image would be that of no file any more."""
    program = inputs["program"]
    directory = cache_directory() / "containers" / f"{program}-{inputs['source'][:16]}"
    archive = directory / f"{program}.tar"
    with only_builder(directory.parent, directory.name, print):
        if not (archive.exists() and _reference(archive).exists()):
            binary = oci_image.compile_program(WORKLOADS, program, directory, go=find_go(WORKLOADS / "go.mod"))
            name = f"localhost/hybrid-platform/{program}"
            image = oci_image.build_image(name, binary, archive, port=inputs["port"])
            write_atomically(_reference(archive), image.reference)
    return {"reference": _reference(archive).read_text(), "archive": str(archive)}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    """Images stay in the cache, like compiled programs."""


def is_intact(outputs: Values) -> bool:
    archive = Path(outputs["archive"])
    reference = _reference(archive)
    return archive.exists() and reference.exists() and reference.read_text() == outputs["reference"]


def _reference(archive: Path) -> Path:
    """The file beside a whole archive that says what its image is called."""
    return archive.with_name("reference")
