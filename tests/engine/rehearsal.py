"""The AWS stack under the real engine, with a provider that makes nothing (aws_stand_in.py)."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "aws")]

from engine import Engine  # noqa: E402

PULUMI = str(CHECKOUT / ".tools" / "bin" / "pulumi")
PACK = ("--policy-pack", str(CHECKOUT / "policy"))
STACK = "aws-dev"
GOLDEN = "ami-0123456789abcdef0"


@dataclass(frozen=True)
class Step:
    """What one thing of the stand-in provider's was told to do."""

    did: str
    type: str
    name: str


@dataclass(frozen=True)
class Run:
    """One command: how it ended, what it said, what the provider did for it, in order."""

    code: int
    said: str
    steps: list[Step]

    def did(self, verb: str) -> list[Step]:
        return [step for step in self.steps if step.did == verb]


def configuration() -> dict[str, Any]:
    return yaml.safe_load((CHECKOUT / f"Pulumi.{STACK}.yaml").read_text())["config"]


class Rehearsal:
    """The engine with the stand-in on its path, in a directory of its own."""

    def __init__(self, scratch: Path) -> None:
        self._order = scratch / "order"
        plugins = scratch / "bin"
        plugins.mkdir()
        launcher = plugins / "pulumi-resource-aws"
        launcher.write_text(
            f"#!/bin/sh\nPYTHONPATH={CHECKOUT}:{CHECKOUT}/tests/aws exec {sys.executable} -W ignore "
            f'{Path(__file__).with_name("aws_stand_in.py")} "$@"\n'
        )
        launcher.chmod(0o755)
        path = {"PATH": f"{plugins}:/usr/local/bin:/usr/bin:/bin", "RECORDED_ORDER": str(self._order)}
        self._engine = Engine(PULUMI, STACK, scratch, configuration(), **path)

    def run(self, *arguments: str, edit: Callable[[dict[str, Any]], None] | None = None) -> Run:
        config = copy.deepcopy(configuration())
        if edit:
            edit(config["hybrid-platform:aws"])
        self._engine.configure(config)
        self._order.write_text("")
        done = self._engine.run(*arguments, "--suppress-outputs", capture=True)
        steps = [Step(**json.loads(line)) for line in self._order.read_text().splitlines()]
        return Run(done.returncode, done.stdout + done.stderr, steps)

    def resources(self) -> list[dict[str, Any]]:
        return self._engine.resources()


def promote(config: dict[str, Any]) -> None:
    config["vm_tier"]["images"]["debian-13"]["golden"] = GOLDEN


@dataclass(frozen=True)
class Life:
    up: Run
    again: Run
    promotion: Run
    down: Run
    left: list[dict[str, Any]]
