"""The elastic tier: upstream Kubernetes on a machine of its own, and what runs in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pulumi

from infra.inventory import CONTROL_PLANE, Inventory
from infra.machines import host
from infra.placement import Runtime
from infra.targets.local.context import CLUSTER_MACHINE, Context
from infra.targets.local.data_disk import DataDisk
from infra.targets.local.golden_image import GoldenImage
from infra.targets.local.machine import Machine
from infra.targets.local.playbook import Playbook
from infra.targets.local.program_images import ProgramImages
from infra.targets.local.programs import Programs
from infra.targets.local.vm_tier import machine_inputs

PROGRAMS = ("kubernetes", "containerd", "runc", "cni-plugins", "kube-router", "gvisor", "coredns", "pause")
SYSTEM_RESERVE = 1536 * 2**20
"""Bytes for the control plane and the node's own programs; measured: they use about 1.05 GB."""

FILE_SYSTEM_OWN = 64 * 2**20
"""Bytes of a disk that are no volume's: inodes and journal."""

SERVICES_RESERVE = 256 * 2**20
"""Bytes for the pods that the cluster needs of itself, and for what sandboxes cost."""


class Cluster(pulumi.ComponentResource):
    """Attributes:
    data_disk: what the persistent volumes lie on; none where no workload asks for one.
    kubeconfig: an administrator's, as text (secret).
    bound: the run after which the cluster takes workloads, and only those that were decided.
    """

    kubeconfig: pulumi.Output[str]

    def __init__(self, context: Context, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:local:Cluster", "cluster", None, opts)
        child = pulumi.ResourceOptions(parent=self)
        kubeconfig = kubeconfig_path(context)
        programs = Programs("programs", PROGRAMS, str(context.state.directory / "programs"), child)
        images = ProgramImages("cluster-images", ("pause", "coredns"), programs.path, programs.keys, child)
        roles = ("kubernetes_control_plane", "kubernetes_node")
        image = GoldenImage("debian-13-kubernetes", "debian-13", roles, child)
        elastic = context.plan.on(Runtime.CONTAINER, Runtime.MICROVM)
        wanted = sum(w.resources.memory * max(1, w.replicas) for w in elastic.values())
        volumes = {name: w.resources.disk for name, w in elastic.items() if w.resources.disk}
        self.data_disk = self._data_disk(context, sum(volumes.values()), child)
        # Twice, because a roll-out runs new pods beside the old ones.
        memory = SYSTEM_RESERVE + SERVICES_RESERVE + 2 * wanted
        self.machine = Machine(
            CLUSTER_MACHINE,
            machine_inputs(
                context,
                CLUSTER_MACHINE,
                workload="cluster",
                image=image,
                memory=memory,
                cpu=float(os.cpu_count() or 1),
                data_disk=self.data_disk,
                kubernetes_node=True,
            ),
            pulumi.ResourceOptions(parent=self, depends_on=[context.network]),
        )
        hosts = tuple(h for h in context.inventory().hosts if CONTROL_PLANE in h.groups)
        configured = Playbook(
            "cluster-configuration",
            "cluster.yml",
            Inventory(hosts).to_ansible(),
            {
                "kubernetes_binaries_source": programs.path,
                "kubernetes_control_plane_kubeconfig_destination": str(kubeconfig),
                "kubernetes_node_image_archives": images.archives,
                "kubernetes_node_pause_image": images.references["pause"],
                "kubernetes_node_timeout": 60 * context.patience,
                "kubernetes_node_volumes": [_volume_path(name) for name in volumes],
                "kubernetes_node_reserved": reserved(context.driver, memory, SYSTEM_RESERVE),
            },
            # A disk of another size means that the machine was restarted: what follows waits for its API here.
            [self.machine.instance_id, programs.keys, self.data_disk.size if self.data_disk else 0],
            child,
        )
        services = Playbook(
            "cluster-services",
            "cluster_services.yml",
            localhost(),
            {
                "cluster_services_kubeconfig": str(kubeconfig),
                "cluster_services_timeout": 120 * context.patience,
                "cluster_services_dns_image": images.references["coredns"],
                "cluster_services_image_pull_policy": "Never",
                "cluster_services_volumes": [_volume(name, size) for name, size in volumes.items()],
            },
            [self.machine.instance_id],
            pulumi.ResourceOptions(parent=self, depends_on=[configured]),
        )
        self.bound = Playbook(
            "cluster-policies",
            "cluster_policies.yml",
            localhost(),
            {
                "cluster_policies_kubeconfig": str(kubeconfig),
                "cluster_policies_timeout": 60 * context.patience,
                "cluster_policies_decisions": {p.workload: p.runtime.value for p in context.plan.placements},
            },
            [self.machine.instance_id],
            pulumi.ResourceOptions(parent=self, depends_on=[services]),
        )
        self.kubeconfig = pulumi.Output.secret(configured.urn.apply(lambda _: _text(kubeconfig)))
        self.register_outputs({})

    def _data_disk(self, context: Context, size: int, opts: pulumi.ResourceOptions) -> DataDisk | None:
        """One disk beneath all volumes: they outlive their pods, and the machine's root."""
        if not size:
            return None
        path = context.state.data_disk(CLUSTER_MACHINE)
        return DataDisk(f"{CLUSTER_MACHINE}-data", str(path), disk_size(path, size), opts)


def disk_size(disk: Path, volumes: int) -> int:
    """Bytes of the disk for so many of volumes. It cannot shrink: what a workload leaves is kept for the next one."""
    return max(volumes + FILE_SYSTEM_OWN, disk.stat().st_size if disk.exists() else 0)


def _volume_path(workload: str) -> str:
    return f"/srv/data/{workload}"


def _volume(workload: str, size: int) -> dict[str, Any]:
    """For the claim `data` that the role cluster_workloads makes in the workload's namespace, and for no other."""
    return {
        "name": workload,
        "size": str(size),
        "path": _volume_path(workload),
        "node": CLUSTER_MACHINE,
        "claim": f"{workload}/data",
    }


def reserved(driver: str, memory: int, own: int) -> dict[str, str]:
    """What a node keeps from pods: what it needs itself, and what it sees of its host's memory but does not have."""
    foreign = host.memory() - memory if driver == "nspawn" else 0
    return {"memory": str(foreign + own)}


def localhost(machines: Inventory | None = None) -> dict[str, Any]:
    """The inventory of runs against the cluster's API, which start from here; with machines, of those too."""
    inventory = (machines or Inventory(())).to_ansible()
    inventory["all"]["hosts"]["localhost"] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
    }
    return inventory


def kubeconfig_path(context: Context) -> Path:
    return context.state.directory / "kubeconfig"


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
