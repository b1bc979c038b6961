"""A container image of a program under workloads/, as a resource."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.machines.state import PROJECT
from infra.targets.local import oci_image
from infra.targets.local.dynamic import ModuleProvider, Values
from toolchain.build import cache_directory, find_go

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
    program, source = inputs["program"], inputs["source"]
    built = cache_directory() / "containers" / f"{program}-{source[:16]}"
    binary = oci_image.compile_program(WORKLOADS, program, built, go=find_go(WORKLOADS / "go.mod"))
    name = f"localhost/hybrid-platform/{program}"
    image = oci_image.build_image(name, binary, built / f"{program}.tar", port=inputs["port"])
    return {"reference": image.reference, "archive": str(image.archive)}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    """Images stay in the cache, like compiled programs."""


def is_intact(outputs: Values) -> bool:
    return Path(outputs["archive"]).exists()
