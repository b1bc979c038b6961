"""The platform's subnet on this machine: a bridge, and NAT for what its machines fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra.machines.host import run, succeeds
from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON = ("bridge", "subnet")
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


class Network(Resource, module="local", name="Network"):
    """A bridge with the subnet's first address, and masquerading towards the outside.

    Attributes:
        forwarding_was_on: what `down` gives back.
    """

    bridge: pulumi.Output[str]
    forwarding_was_on: pulumi.Output[bool]

    def __init__(self, name: str, bridge: str, subnet: str, gateway: str, opts: Any = None) -> None:
        inputs = {"name": name, "bridge": bridge, "subnet": subnet, "gateway": gateway, "forwarding_was_on": None}
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def create(inputs: Values) -> Values:
    was_on = _IP_FORWARD.read_text().strip() == "1"
    _ensure(inputs)
    return {"forwarding_was_on": was_on}


def update(inputs: Values, old: Values) -> Values:
    _ensure(inputs)
    return {"forwarding_was_on": old["forwarding_was_on"]}


def delete(outputs: Values) -> None:
    bridge = outputs["bridge"]
    if succeeds("nft", "list", "table", "ip", bridge):
        run("nft", "delete", "table", "ip", bridge)
    if succeeds("ip", "link", "show", bridge):
        run("ip", "link", "delete", bridge)
    others = [p for p in Path("/sys/class/net").glob("hp-*") if p.name != bridge]
    if outputs["forwarding_was_on"] is False and not others:
        _IP_FORWARD.write_text("0\n")


def is_intact(outputs: Values) -> bool:
    bridge = outputs["bridge"]
    return (
        succeeds("ip", "link", "show", bridge)
        and succeeds("nft", "list", "table", "ip", bridge)
        and _IP_FORWARD.read_text().strip() == "1"
    )


def _ensure(inputs: Values) -> None:
    bridge, subnet, gateway = inputs["bridge"], inputs["subnet"], inputs["gateway"]
    if not succeeds("ip", "link", "show", bridge):
        run("ip", "link", "add", bridge, "type", "bridge")
    run("ip", "address", "replace", f"{gateway}/{subnet.partition('/')[2]}", "dev", bridge)
    run("ip", "link", "set", bridge, "up")
    _IP_FORWARD.write_text("1\n")
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
