"""What a Kubernetes node under systemd-nspawn is given beyond a VM-tier machine, each with its reason.

A real VM needs none of this: its kernel is its own. Found by starting from nspawn's defaults with a writable network
part of the API file systems only, and adding what a pod did not run without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Privilege:
    """One argument of systemd-nspawn and why a node cannot do without it."""

    nspawn_argument: str
    reason: str


PRIVILEGES: tuple[Privilege, ...] = (
    Privilege(
        "--capability=CAP_NET_ADMIN",
        "interfaces, routes and packet filters of the pods, in the machine's own network",
    ),
)

ENVIRONMENT: Mapping[str, str] = {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}

PRICE = (
    "Root inside this machine has CAP_SYS_ADMIN over the host's kernel, because containers cannot be made without it: "
    "it can mount a second /proc and so change the host's kernel settings. A real VM has none of this."
)
