"""What a Kubernetes node under systemd-nspawn is given beyond a VM-tier machine, each with its reason.

A real VM needs none of this: its kernel is its own. Found by taking away from nspawn's defaults, and giving back what
pods (plain, with mapped users, sandboxed) did not run without.
"""

from __future__ import annotations

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
    Privilege(
        "--capability=CAP_MKNOD",
        "runc makes the device nodes of each container; block devices cannot be opened all the same",
    ),
    Privilege(
        "--capability=CAP_SYS_PTRACE",
        "runc and containerd open the namespaces of the containers that they have just started",
    ),
    Privilege(
        "--capability=CAP_SYS_NICE",
        "runc moves processes of mapped users between sets of processors, without which nobody enters such a pod",
    ),
)

# Tried from inside as root and refused: opening a host disk, loading a module, the kernel's log and memory, groups of
# other machines, release agents. The tests of the platform try it on every machine.
PRICE = (
    "Root inside the cluster's stand-in can still change the host's kernel settings: containers need CAP_SYS_ADMIN "
    "there, and whoever has it can mount a second, writable /proc or /sys. Root in a stand-in of the VM tier cannot: "
    "it is root of a user namespace. A real VM has none of this."
)
