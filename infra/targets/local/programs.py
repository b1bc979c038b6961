"""The external programs that the cluster's machine needs, as a resource that builds what is missing.

Pulumi runs it beside images, machines and the database; only what needs a binary waits for it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.targets.local.dynamic import ModuleProvider, Values
from toolchain import build as toolchain

REPLACE_ON: tuple[str, ...] = ()


class Programs(Resource, module="local", name="Programs"):
    """Named programs of toolchain/programs.toml, gathered in the directory `path`."""

    path: pulumi.Output[str]
    keys: pulumi.Output[dict[str, str]]

    def __init__(
        self, name: str, programs: Sequence[str], path: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        pins = toolchain.programs()
        keys = {program: pins[program].key() for program in programs}
        super().__init__(ModuleProvider(__name__), name, {"name": name, "keys": keys, "path": path}, opts)


def create(inputs: Values) -> Values:
    gathered = Path(inputs["path"])
    unfinished = gathered.with_name(gathered.name + ".building")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    pins = toolchain.programs()
    names = list(inputs["keys"])
    for number, program in enumerate(names, 1):
        rest = f" ({', '.join(names[number:])} to come)" if number < len(names) else ""
        directory = toolchain.build(program, lambda line, rest=rest: print(line + rest, flush=True))  # type: ignore[misc]
        for binary in pins[program].binaries:
            _link(directory / binary, unfinished / binary)
    shutil.rmtree(gathered, ignore_errors=True)
    unfinished.rename(gathered)
    return {}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    shutil.rmtree(outputs["path"], ignore_errors=True)


def is_intact(outputs: Values) -> bool:
    return Path(outputs["path"]).is_dir()


def _link(source: Path, target: Path) -> None:
    """A hard link takes no room; the cache can be on another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
