"""Golden images: a root directory built once from its inputs and shared by the machines that start from it.

Images are kept in the cache beside the compiled programs, named by the digest of what they are made
from; each attempt to build one has a directory of its own aside, which is renamed when it is whole.
One that has expired or was deprecated is built anew as its next generation. That changes no input of a machine, so that
those that run stay as they are and new ones start from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.machines import images, processes
from infra.machines.host import run_streaming
from infra.machines.state import PROJECT, state
from infra.targets.local import ansible
from infra.targets.local.dynamic import ModuleProvider, Values
from toolchain.build import cache_directory, only_builder

REPLACE_ON: tuple[str, ...] = ()
PLAYBOOK = "golden_image.yml"
FORMAT = 3
"""Raise it when the way in which images are put together changes."""


class GoldenImage(Resource, module="local", name="GoldenImage"):
    """An image of one OS release with the packages of some roles of the collection on board.

    Attributes:
        digest: names the image; machines are replaced when it changes.
        path: directory of its first generation; the others are beside it (see infra.machines.images).
    """

    digest: pulumi.Output[str]
    path: pulumi.Output[str]

    def __init__(
        self, name: str, release: str, roles: Sequence[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        self.digest_now = image_digest(release, roles)
        inputs = {
            "name": name,
            "release": release,
            "roles": sorted(roles),
            "digest": self.digest_now,
            "path": str(image_directory(name, self.digest_now)),
        }
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def image_digest(release: str, roles: Sequence[str]) -> str:
    made_of = [FORMAT, release, sorted(roles), ansible.content_digest(PLAYBOOK, *roles)]
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]


def image_directory(name: str, digest: str) -> Path:
    return cache_directory() / "images" / f"{name}-{digest}"


def create(inputs: Values) -> Values:
    build(inputs["name"], inputs["release"], inputs["roles"], Path(inputs["path"]))
    return {}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    """Images stay in the cache, like compiled programs, until retention or `make clean-cache` removes them."""


def is_intact(outputs: Values) -> bool:
    return images.newest(Path(outputs["path"])) is not None


def build(name: str, release: str, roles: Sequence[str], image: Path) -> Path:
    """The generation of the image that new machines start from, made now if none is good."""
    if found := _ready(image):
        return found
    with only_builder(image.parent, name, print):
        if found := _ready(image):
            return found
        # Exactly this name's: `debian-13-*` would also be somebody else's `debian-13-postgresql-…`.
        for leftover in image.parent.glob(f"{name}-{'?' * 16}.*building"):
            # A build goes on by itself where only its parent was killed. What it still writes goes the next time.
            processes.end(processes.with_argument(str(leftover)))
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished = image.with_name(f"{image.name}.{secrets.token_hex(4)}.building")
        unfinished.mkdir()
        command = [
            sys.executable,
            "-u",
            "-m",
            "infra.targets.local.image_build",
            name,
            release,
            str(unfinished),
            *roles,
        ]
        run_streaming(command, cwd=PROJECT)
        built = unfinished.rename(images.next_generation(image))
    _remove_unneeded(name, image.parent)
    return built


def _ready(image: Path) -> Path | None:
    """The good generation, kept for whoever is about to start from it."""
    with contextlib.suppress(FileNotFoundError):
        if found := images.newest(image):
            images.touch(found)
            return found
    return None


def _remove_unneeded(name: str, directory: Path) -> None:
    """Every change of a role makes new images, so whoever adds one takes away what nobody needs any more."""
    variables = {"image_action": "prune", "image_directory": str(directory)}
    try:
        ansible.run_playbook(state(), f"retention-{name}", "image_lifecycle.yml", {"all": {}}, variables)
    except ansible.PlaybookError as error:
        print(f"{name} was built, but old images could not be removed: {error}", flush=True)
