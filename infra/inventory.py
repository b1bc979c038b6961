"""The Inventory: what every target hands over to Ansible and to the tests, in one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

VM_TIER = "vm_tier"
CONTROL_PLANE = "kubernetes_control_plane"
NODES = "kubernetes_nodes"


@dataclass(frozen=True)
class Host:
    """One machine.

    Attributes:
        groups: VM_TIER or CONTROL_PLANE/NODES, and one group per workload that it runs.
        variables: Ansible variables of this host, connection included; never a secret.
    """

    name: str
    groups: tuple[str, ...]
    variables: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Inventory:
    """All machines of a platform; `to_ansible` is what `pulumi stack output inventory` gives."""

    hosts: tuple[Host, ...]
    variables: dict[str, Any] = field(default_factory=dict)

    def to_ansible(self) -> dict[str, Any]:
        """The inventory as Ansible's YAML inventory plugin reads it."""
        children: dict[str, Any] = {}
        for host in self.hosts:
            for group in host.groups:
                children.setdefault(group_name(group), {"hosts": {}})["hosts"][host.name] = {}
        return {
            "all": {
                "hosts": {host.name: dict(host.variables) for host in self.hosts},
                "vars": dict(self.variables),
                "children": children,
            }
        }


def databases(workload: str, callers: Sequence[str]) -> list[dict[str, Any]]:
    """What the role postgresql makes for a workload: a database that the first caller owns, and the others use."""
    users = [{"name": caller} for caller in callers[1:]]
    return [{"name": workload, "owner": callers[0], "users": users}] if callers else []


def group_name(workload: str) -> str:
    """Ansible groups cannot have dashes."""
    return workload.replace("-", "_")
