"""Container images of the cluster's own programs, as a resource: nothing is pulled from a registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.targets.local.dynamic import ModuleProvider, Values
from infra.targets.local.oci_image import build_image

REPLACE_ON: tuple[str, ...] = ()


class ProgramImages(Resource, module="local", name="ProgramImages"):
    """One image a program, each with that program as its only content.

    Attributes:
        references: name@sha256:… of each program, by which pods run it.
        archives: what the role kubernetes_node imports.
    """

    references: pulumi.Output[dict[str, str]]
    archives: pulumi.Output[list[dict[str, str]]]

    def __init__(
        self,
        name: str,
        programs: Sequence[str],
        path: pulumi.Input[str],
        keys: pulumi.Input[dict[str, str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {"name": name, "programs": list(programs), "path": path, "keys": keys}
        super().__init__(ModuleProvider(__name__), name, inputs | {"references": None, "archives": None}, opts)


def create(inputs: Values) -> Values:
    directory = Path(inputs["path"])
    images = {
        program: build_image(f"localhost/hybrid-platform/{program}", directory / program, _archive(directory, program))
        for program in inputs["programs"]
    }
    return {
        "references": {program: image.reference for program, image in images.items()},
        "archives": [{"reference": image.reference, "path": str(image.archive)} for image in images.values()],
    }


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    for archive in outputs["archives"]:
        Path(archive["path"]).unlink(missing_ok=True)


def is_intact(outputs: Values) -> bool:
    return all(Path(archive["path"]).exists() for archive in outputs["archives"])


def _archive(directory: Path, program: str) -> Path:
    return directory.with_name(f"{directory.name}-images") / f"{program}.tar"
