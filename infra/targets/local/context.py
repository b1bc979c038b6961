"""What every part of this target needs to know of the platform that it is a part of."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.inventory import CONTROL_PLANE, NODES, VM_TIER, Host, Inventory, group_name
from infra.machines.state import PROJECT, State, gateway
from infra.placement import Plan, Runtime
from infra.targets.local.machine import connection
from infra.targets.local.network import Network
from infra.targets.local.ssh_key import SshKey

CLUSTER_MACHINE = "cluster-0"


@dataclass(frozen=True)
class Context:
    """Attributes:
    addresses: of every machine of the plan, by its name.
    driver: nspawn or qemu.
    patience: the factor on every limit of time; see infra/machines/patience.py.
    """

    plan: Plan
    state: State
    subnet: ipaddress.IPv4Network
    addresses: dict[str, str]
    driver: str
    patience: int
    network: Network
    ssh_key: SshKey

    @property
    def gateway(self) -> str:
        return gateway(self.subnet)

    def connection(self, machine: str) -> dict[str, Any]:
        """How Ansible reaches a machine."""
        return {"ansible_host": self.addresses[machine]} | connection(self.state, key_path(self.state), machine)

    def inventory(self) -> Inventory:
        hosts = [
            Host(
                machine,
                (VM_TIER, group_name(workload)),
                self.connection(machine)
                | self._snapshots(machine)
                | {"workload": workload, "workload_package": spec.package or ""},
            )
            for workload, spec in self.plan.on(Runtime.VM).items()
            for machine in machines_of(workload, spec.replicas)
        ]
        if has_cluster(self.plan):
            hosts.append(Host(CLUSTER_MACHINE, (CONTROL_PLANE, NODES), self.connection(CLUSTER_MACHINE)))
        return Inventory(tuple(hosts), self._patching_limits())

    def _patching_limits(self) -> dict[str, int]:
        """How long the patching role waits for what happens on a machine."""
        seconds = {"reboot": 600, "lock": 300, "health": 120, "kubernetes_drain": 300}
        return {f"patching_{what}_timeout": usual * self.patience for what, usual in seconds.items()}

    def _snapshots(self, machine: str) -> dict[str, Any]:
        """How the patching role takes a snapshot of the machine, and goes back to it; docs/patching.md."""
        hooks = PROJECT / "infra/targets/local"
        return {
            "machine_directory": str(self.state.machine(machine)),
            "patching_snapshot_tasks": str(hooks / "snapshot.yml"),
            "patching_rollback_tasks": str(hooks / "rollback.yml"),
        }

    def sources_of(self, workload: str) -> list[str]:
        """The addresses from which the callers of a workload reach it."""
        return sorted({a for caller in self.plan.callers_of(workload) for a in self.addresses_of(caller)})

    def addresses_of(self, workload: str) -> list[str]:
        """The addresses from which a workload calls others; pods come from their node's."""
        if workload in self.plan.on(Runtime.CONTAINER, Runtime.MICROVM):
            return [self.addresses[CLUSTER_MACHINE]]
        return [self.addresses[m] for m in machines_of(workload, self.plan.spec.workloads[workload].replicas)]


def key_path(state: State) -> Path:
    return state.directory / "ssh" / "id_ed25519"


def machines_of(workload: str, replicas: int) -> list[str]:
    return [f"{workload}-{ordinal}" for ordinal in range(replicas)]


def has_cluster(plan: Plan) -> bool:
    return bool(plan.on(Runtime.CONTAINER, Runtime.MICROVM))


def machine_names(plan: Plan) -> list[str]:
    vms = [m for w, spec in plan.on(Runtime.VM).items() for m in machines_of(w, spec.replicas)]
    return vms + ([CLUSTER_MACHINE] if has_cluster(plan) else [])
