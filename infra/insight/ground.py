"""What lies under the workloads on one target: machines, what runs on them, and the walls between them.

`local_ground.py` reads it from the state of a local stack, `aws_ground.py` from that of a stack on AWS; the cluster on
top of it is the same on both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infra.insight.estate import Machine, Role, Unit


@dataclass(frozen=True)
class Rule:
    """A port that a machine's own firewall opens, and to whom."""

    port: int
    sources: tuple[str, ...]


Walls = Callable[[str, str, int], str | None]
"""Through what one machine reaches a port of another: a name, '' where nothing is between them, None if it does not."""

Entries = Callable[[str, int], tuple[str, ...]]
"""The walls around a machine that let somebody in at a port."""


@dataclass(frozen=True)
class Ground:
    """
    Attributes:
        units: the workloads that run on machines.
        firewalls: the rules of each machine's own firewall.
        addresses: by which a machine's packets, and those of its pods, may be known.
        pods_are_routable: whether machines reach a pod by its own address, not only by what its node publishes.
        roles: those that machines and service accounts hold outside the cluster.
        cluster_admins: names of roles that the cluster lets do everything.
        unseen: what could not be looked at, in words.
    """

    machines: tuple[Machine, ...]
    units: tuple[Unit, ...]
    firewalls: Mapping[str, tuple[Rule, ...]]
    addresses: Mapping[str, tuple[str, ...]]
    walls: Walls = lambda source, destination, port: ""
    entries: Entries = lambda machine, port: ()
    pods_are_routable: bool = False
    roles: tuple[Role, ...] = ()
    cluster_admins: frozenset[str] = frozenset()
    unseen: str = ""
