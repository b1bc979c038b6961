"""The VM tier: a machine for each member of each workload that was placed on VMs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi

from infra.inventory import Inventory, databases
from infra.placement import Runtime
from infra.spec import Spec, Workload
from infra.targets.local.context import Context, machines_of
from infra.targets.local.data_disk import DataDisk
from infra.targets.local.golden_image import GoldenImage
from infra.targets.local.machine import Machine
from infra.targets.local.password import Password
from infra.targets.local.playbook import Playbook

OS_RESERVE = 192 * 2**20
"""Bytes that a machine has beyond its workload's, for its own system."""


class VmTier(pulumi.ComponentResource):
    """Attributes:
    machines: by name.
    passwords: of each caller of each database, by "<caller>@<workload>".
    playbooks: the last run for each machine; what talks to the tier waits for them.
    """

    def __init__(self, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:local:VmTier", "vm-tier", None, opts)
        self._context = context
        self._images: dict[tuple[str, str | None], GoldenImage] = {}
        self.machines: dict[str, Machine] = {}
        self.passwords: dict[str, Password] = {}
        self.playbooks: list[Playbook] = []
        self.data_disks: dict[str, DataDisk] = {}
        for name, workload in context.plan.on(Runtime.VM).items():
            for machine in machines_of(name, workload.replicas):
                self._member(machine, name, workload)
        self.register_outputs({})

    def _member(self, machine: str, name: str, workload: Workload) -> None:
        child = pulumi.ResourceOptions(parent=self)
        disk = None
        if workload.resources.disk:
            path = self._context.state.data_disk(machine)
            refuse_to_shrink(self._context.plan.spec, name, path)
            disk = DataDisk(f"{machine}-data", str(path), workload.resources.disk, child)
            self.data_disks[machine] = disk
        self.machines[machine] = Machine(
            machine,
            machine_inputs(
                self._context,
                machine,
                workload=name,
                image=self._image(workload),
                memory=workload.resources.memory + OS_RESERVE,
                cpu=workload.resources.cpu,
                data_disk=disk,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[self._context.network]),
        )
        self.playbooks.append(
            Playbook(
                f"{machine}-configuration",
                "vm_tier.yml",
                Inventory(tuple(h for h in self._context.inventory().hosts if h.name == machine)).to_ansible(),
                self._variables(machine, name, workload),
                [self.machines[machine].instance_id],
                child,
            )
        )

    def _image(self, workload: Workload) -> GoldenImage:
        """One image for each release and package: what a machine runs is in its image."""
        key = (workload.os, workload.package)
        if key not in self._images:
            name = "-".join(filter(None, (workload.os, workload.package)))
            roles = [workload.package] if workload.package else []
            self._images[key] = GoldenImage(name, workload.os, roles, pulumi.ResourceOptions(parent=self))
        return self._images[key]

    def _variables(self, machine: str, name: str, workload: Workload) -> dict[str, Any]:
        context = self._context
        sources = context.sources_of(name)
        variables: dict[str, Any] = {
            "firewall_management_sources": [context.gateway],
            "firewall_revert_after": 60 * context.patience,
            "hardening_sshd_revert_after": 60 * context.patience,
            "firewall_allow": [{"port": port, "sources": sources} for port in workload.ports],
        }
        if workload.package == "postgresql":
            variables |= self._postgresql(machine, name, workload)
        return variables

    def _postgresql(self, machine: str, name: str, workload: Workload) -> dict[str, Any]:
        """A database named like the workload, owned by the first of its callers; the others use its rows."""
        callers = self._context.plan.callers_of(name)
        for caller in callers:
            self.passwords[f"{caller}@{name}"] = Password(
                f"{caller}@{name}-password", opts=pulumi.ResourceOptions(parent=self)
            )
        return {
            "postgresql_port": workload.ports[0],
            "postgresql_data_mount": "/srv/data",
            "postgresql_memory_mb": workload.resources.memory // 2**20,
            "postgresql_databases": databases(name, callers),
            "postgresql_users": [
                {
                    "name": caller,
                    "password": self.passwords[f"{caller}@{name}"].value,
                    "clients": self._context.addresses_of(caller),
                }
                for caller in callers
            ],
            "postgresql_ca_destination": str(ca_path(self._context, machine)),
        }


def refuse_to_shrink(spec: Spec, workload: str, disk: Path) -> None:
    """Before anything is made, with its line in the file.

    Raises:
        SpecError: if the disk that is there is larger than what is asked for.
    """
    has, wanted = disk.stat().st_size if disk.exists() else 0, spec.workloads[workload].resources.disk
    if wanted < has:
        told = f"{wanted // 2**20}MiB is less than the {has // 2**20}MiB of {disk}; a disk can grow but not shrink"
        raise spec.origin.error([(("workloads", workload, "resources", "disk"), told)])


def ca_path(context: Context, machine: str) -> Path:
    """Where the certificate of a machine's private authority is kept on this side."""
    return context.state.directory / f"{machine}-ca.pem"


def machine_inputs(
    context: Context,
    machine: str,
    *,
    workload: str,
    image: GoldenImage,
    memory: int,
    cpu: float,
    data_disk: DataDisk | None = None,
    kubernetes_node: bool = False,
) -> dict[str, Any]:
    return {
        "workload": workload,
        "driver": context.driver,
        "image": image.path,
        "bridge": context.network.bridge,
        "address": f"{context.addresses[machine]}/{context.subnet.prefixlen}",
        "gateway": context.gateway,
        "memory": memory,
        "cpu": cpu,
        "data_disk": data_disk.path if data_disk else "",
        "data_disk_owner": data_disk.owner if data_disk else "",
        "data_disk_size": data_disk.size if data_disk else 0,
        "kubernetes_node": kubernetes_node,
        "authorized_key": context.ssh_key.public_key,
    }
