"""A stack of this project under the real engine: its state and its file lie aside, and the checkout stays as it is."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
SECONDS = 1200


class Engine:
    """
    Attributes:
        file: the stack's configuration; what is written to it holds from the next command on.
    """

    def __init__(self, pulumi: str, stack: str, scratch: Path, config: Mapping[str, Any], **environment: str) -> None:
        self._pulumi, self._stack = pulumi, stack
        self.file = scratch / f"Pulumi.{stack}.yaml"
        self._environment = os.environ | {
            "PULUMI_BACKEND_URL": f"file://{scratch}/state",
            "PULUMI_CONFIG_PASSPHRASE": "of no secret",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            **environment,
        }
        (scratch / "state").mkdir()
        # `stack init` writes a salt beside the project's file; not beside ours.
        aside = scratch / "project"
        aside.mkdir()
        (aside / "Pulumi.yaml").write_text((CHECKOUT / "Pulumi.yaml").read_text())
        command = [pulumi, "stack", "init", stack, "--no-select", "--non-interactive"]
        subprocess.run(command, cwd=aside, env=self._environment, check=True, capture_output=True)
        self.configure(config)

    def configure(self, config: Mapping[str, Any]) -> None:
        """`config` is what the stack's file in the checkout has below `config`."""
        self.file.write_text(yaml.safe_dump({"config": dict(config)}))

    def run(self, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command of pulumi to its end, whatever that is.

        Raises:
            TimeoutError: if it has none; the update is cancelled then.
        """
        command = [self._pulumi, *arguments, "--stack", self._stack, "--config-file", str(self.file)]
        where: dict[str, Any] = {"cwd": CHECKOUT, "env": self._environment}
        try:
            return subprocess.run(
                [*command, "--non-interactive"], **where, capture_output=capture, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            subprocess.run([self._pulumi, "cancel", "--yes", "--stack", self._stack], **where)
            raise TimeoutError(f"pulumi {arguments[0]} did not end within {SECONDS} s") from None

    def resources(self) -> list[dict[str, Any]]:
        """What the stack's state has."""
        command = [self._pulumi, "stack", "export", "--stack", self._stack]
        exported = subprocess.run(
            command, cwd=CHECKOUT, env=self._environment, check=True, capture_output=True, text=True
        )
        return json.loads(exported.stdout)["deployment"].get("resources") or []
