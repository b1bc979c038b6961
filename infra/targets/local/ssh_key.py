"""The key pair with which this platform's Ansible and its owner enter the machines."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.machines.ssh import make_key
from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON = ("path",)


class SshKey(Resource, module="local", name="SshKey"):
    """The private half is a file of mode 0600 at `path`, never in the state; `public_key` is one line."""

    path: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, path: str, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {"name": name, "path": path, "public_key": None}
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def create(inputs: Values) -> Values:
    path = Path(inputs["path"])
    if not path.exists():
        make_key(path, comment="hybrid-platform")
    return {"public_key": Path(f"{path}.pub").read_text().strip()}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    Path(outputs["path"]).unlink(missing_ok=True)
    Path(outputs["path"] + ".pub").unlink(missing_ok=True)


def is_intact(outputs: Values) -> bool:
    return Path(outputs["path"]).exists()
