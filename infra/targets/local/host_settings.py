"""The few kernel settings of this host without which its machines cannot work; the last platform gives them back."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON: tuple[str, ...] = ()
NEEDED = {
    # Machines reach the world through the host.
    "net/ipv4/ip_forward": 1,
    # A Kubernetes node's stand-in shares the host's count and takes some thirty; the usual 128 are soon used up:
    # containerd then starts without its CRI, with one warning in its log.
    "fs/inotify/max_user_instances": 1024,
    "fs/inotify/max_user_watches": 131072,
}
# What they were before any platform. Gone with the next boot, as what was changed is.
BEFORE = Path("/run/hybrid-platform/host-settings.json")
_SYSCTL = Path("/proc/sys")
_NETWORKS = Path("/sys/class/net")


class HostSettings(Resource, module="local", name="HostSettings"):
    """Raises settings below `needed`; never lowers one."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(ModuleProvider(__name__), name, {"name": name, "needed": NEEDED}, opts)


def create(inputs: Values) -> Values:
    _remember({setting: _read(setting) for setting in inputs["needed"]})
    for setting, value in inputs["needed"].items():
        if _read(setting) < value:
            _write(setting, value)
    return {}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    give_back()


def give_back() -> None:
    """Undo it, unless another platform's bridge is still there."""
    if BEFORE.exists() and not list(_NETWORKS.glob("hp-*")):
        for setting, value in json.loads(BEFORE.read_text()).items():
            _write(setting, value)
        BEFORE.unlink(missing_ok=True)


def is_intact(outputs: Values) -> bool:
    return all(_read(setting) >= value for setting, value in outputs["needed"].items())


def _remember(values: dict[str, int]) -> None:
    """Once: what a second platform finds is what the first one made of it."""
    BEFORE.parent.mkdir(exist_ok=True)
    unfinished = BEFORE.with_name(f".{BEFORE.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(values))
    with contextlib.suppress(FileExistsError):
        os.link(unfinished, BEFORE)
    unfinished.unlink()


def _read(setting: str) -> int:
    return int((_SYSCTL / setting).read_text())


def _write(setting: str, value: int) -> None:
    (_SYSCTL / setting).write_text(f"{value}\n")
