"""What a Kubernetes node under systemd-nspawn is given beyond a VM-tier machine, each with its reason.

A real VM needs none of this: its kernel is its own.
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
    Privilege("--capability=all", "containerd and kubelet mount, make namespaces, devices and network rules for pods"),
    Privilege("--bind=/sys/fs/cgroup", "kubelet and runc make a cgroup for each pod"),
    Privilege("--bind=/dev/kmsg", "kubelet reads the kernel's log to notice memory kills"),
)

ENVIRONMENT: Mapping[str, str] = {
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
    "SYSTEMD_SECCOMP": "0",
}

PRICE = (
    "Root inside this machine can change the host's kernel settings and control groups, "
    "because it shares the host's kernel; a real VM has none of this."
)
