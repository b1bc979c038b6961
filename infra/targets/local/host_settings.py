"""The few kernel settings of this host without which its machines cannot work; given back by `down`."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON: tuple[str, ...] = ()
NEEDED = {
    # Machines reach the world through the host.
    "net/ipv4/ip_forward": 1,
    # Stand-ins share the host's count; a systemd takes about a dozen, a Kubernetes node some thirty, and the
    # usual 128 are soon used up: containerd then starts without its CRI, with one warning in its log.
    "fs/inotify/max_user_instances": 1024,
    "fs/inotify/max_user_watches": 131072,
}
_SYSCTL = Path("/proc/sys")


class HostSettings(Resource, module="local", name="HostSettings"):
    """Raises settings below `needed`; never lowers one.

    Attributes:
        before: what each was before this platform.
    """

    before: pulumi.Output[dict[str, int]]

    def __init__(self, name: str, bridge: str, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {"name": name, "bridge": bridge, "needed": NEEDED, "before": None}
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def create(inputs: Values) -> Values:
    before = {setting: _read(setting) for setting in inputs["needed"]}
    _raise(inputs["needed"])
    return {"before": before}


def update(inputs: Values, old: Values) -> Values:
    before = {setting: old["before"].get(setting, _read(setting)) for setting in inputs["needed"]}
    _raise(inputs["needed"])
    return {"before": before}


def delete(outputs: Values) -> None:
    others = [p for p in Path("/sys/class/net").glob("hp-*") if p.name != outputs["bridge"]]
    if not others:
        for setting, value in outputs["before"].items():
            (_SYSCTL / setting).write_text(f"{value}\n")


def is_intact(outputs: Values) -> bool:
    return all(_read(setting) >= value for setting, value in outputs["needed"].items())


def _raise(needed: dict[str, int]) -> None:
    for setting, value in needed.items():
        if _read(setting) < value:
            (_SYSCTL / setting).write_text(f"{value}\n")


def _read(setting: str) -> int:
    return int((_SYSCTL / setting).read_text())
