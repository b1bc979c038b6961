"""Whether security groups let a connection pass: out of one of the source's and into one of the destination's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.insight.network_policy import Object, covers

_RULES = {
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": True,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": False,
}
_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_TCP = ("tcp", "6", "-1", "all")


@dataclass(frozen=True)
class Side:
    """One end of a connection: the groups of its interface, and the addresses that it may have."""

    groups: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class GroupRule:
    """What one rule of a group lets in, or out."""

    group: str
    is_ingress: bool
    first: int
    last: int
    peers: tuple[str, ...]
    ranges: tuple[str, ...]

    def admits(self, mine: Side, other: Side, port: int) -> bool:
        return (
            self.group in mine.groups
            and self.first <= port <= self.last
            and (bool(set(self.peers) & set(other.groups)) or covers(self.ranges, other.addresses))
        )


class SecurityGroups:
    """The groups of a stack with all their rules, also those that a refresh has found inside a group."""

    def __init__(self, resources: Iterable[Object]) -> None:
        resources = list(resources)
        self.names = {r["id"]: _label(r) for r in resources if r["type"] == _GROUP}
        self._rules = list(dict.fromkeys(_rules(resources)))

    def through(self, source: Side, destination: Side, port: int) -> str | None:
        """The destination's group that lets it in, if a group of the source lets it out; None if it does not pass."""
        if not any(not rule.is_ingress and rule.admits(source, destination, port) for rule in self._rules):
            return None
        entry = next((r for r in self._rules if r.is_ingress and r.admits(destination, source, port)), None)
        return f"security group {self.names.get(entry.group, entry.group)}" if entry else None

    def entries(self, side: Side, port: int) -> tuple[str, ...]:
        """The groups of an interface that let anybody in at a port."""
        groups = [r.group for r in self._rules if r.is_ingress and r.group in side.groups and r.first <= port <= r.last]
        return tuple(dict.fromkeys(f"security group {self.names.get(group, group)}" for group in groups))


def _rules(resources: Iterable[Object]) -> Iterator[GroupRule]:
    for resource in resources:
        outputs = resource.get("outputs") or {}
        if resource["type"] in _RULES:
            if str(outputs["ipProtocol"]) in _TCP:
                peers, ranges = (
                    tuple(filter(None, [outputs.get(key)])) for key in ("referencedSecurityGroupId", "cidrIpv4")
                )
                is_ingress = _RULES[resource["type"]]
                yield GroupRule(outputs["securityGroupId"], is_ingress, *_ports(outputs), peers, ranges)
        elif resource["type"] == _GROUP:
            for direction in ("ingress", "egress"):
                for rule in outputs.get(direction) or ():
                    if str(rule["protocol"]) in _TCP:
                        yield _inline(resource["id"], direction == "ingress", rule)


def _inline(group: str, is_ingress: bool, rule: Any) -> GroupRule:
    peers = (*(rule.get("securityGroups") or ()), *([group] if rule.get("self") else ()))
    return GroupRule(group, is_ingress, *_ports(rule), tuple(sorted(peers)), tuple(rule.get("cidrBlocks") or ()))


def _ports(rule: Any) -> tuple[int, int]:
    protocol = str(rule.get("ipProtocol", rule.get("protocol")))
    if protocol in ("-1", "all") or rule.get("fromPort") in (None, -1):
        return 0, 65535
    return int(rule["fromPort"]), int(rule["toPort"])


def _label(resource: Object) -> str:
    outputs = resource.get("outputs") or {}
    return str((outputs.get("tags") or {}).get("hybrid:group") or outputs.get("name") or resource["id"])
