"""The platform's subnet on this machine: a bridge, and a way out for what its machines fetch."""

from __future__ import annotations

import shutil
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra.machines.host import run, succeeds
from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON = ("bridge", "subnet")


class Network(Resource, module="local", name="Network"):
    """A bridge with the subnet's first address, and masquerading towards the outside."""

    bridge: pulumi.Output[str]

    def __init__(self, name: str, bridge: str, subnet: str, gateway: str, opts: Any = None) -> None:
        inputs = {"name": name, "bridge": bridge, "subnet": subnet, "gateway": gateway}
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def create(inputs: Values) -> Values:
    _ensure(inputs)
    return {}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    bridge = outputs["bridge"]
    if _has_iptables():
        for rule in filter(_is_set, _passes(bridge)):
            run("iptables", "--wait", "--delete", "FORWARD", *rule)
    if succeeds("nft", "list", "table", "ip", bridge):
        run("nft", "delete", "table", "ip", bridge)
    if succeeds("ip", "link", "show", bridge):
        run("ip", "link", "delete", bridge)


def is_intact(outputs: Values) -> bool:
    bridge = outputs["bridge"]
    has_table = succeeds("nft", "list", "table", "ip", bridge)
    return has_table and succeeds("ip", "link", "show", bridge) and not _missing_passes(bridge)


def _ensure(inputs: Values) -> None:
    bridge, subnet, gateway = inputs["bridge"], inputs["subnet"], inputs["gateway"]
    if not succeeds("ip", "link", "show", bridge):
        run("ip", "link", "add", bridge, "type", "bridge")
    run("ip", "address", "replace", f"{gateway}/{subnet.partition('/')[2]}", "dev", bridge)
    run("ip", "link", "set", bridge, "up")
    # One transaction: add, flush and fill, so that a second run leaves just one set of rules.
    rules = f"""
add table ip {bridge}
flush table ip {bridge}
table ip {bridge} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat
    ip saddr {subnet} ip daddr != {subnet} oifname != "{bridge}" masquerade
  }}
}}
"""
    run("nft", "-f", "-", stdin=rules)
    for rule in _missing_passes(bridge):
        run("iptables", "--wait", "--insert", "FORWARD", *rule)


def _missing_passes(bridge: str) -> list[tuple[str, ...]]:
    """Rules that let machines' traffic through where this host drops what it forwards, as Docker and ufw make it do.

    A rule of our own table cannot: what one table accepts, another still drops.
    """
    if not _has_iptables() or "-P FORWARD DROP" not in run("iptables", "--wait", "--list-rules", "FORWARD"):
        return []
    return [rule for rule in _passes(bridge) if not _is_set(rule)]


def _is_set(rule: tuple[str, ...]) -> bool:
    return succeeds("iptables", "--wait", "--check", "FORWARD", *rule)


def _passes(bridge: str) -> list[tuple[str, ...]]:
    """What machines begin, and the answers to it; nobody outside begins anything."""
    comment = ("-m", "comment", "--comment", "hybrid-platform", "-j", "ACCEPT")
    return [
        ("-i", bridge, *comment),
        ("-o", bridge, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *comment),
    ]


def _has_iptables() -> bool:
    return shutil.which("iptables") is not None
