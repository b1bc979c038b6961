"""What runs in the cluster: the images of the workloads, and the run that applies them."""

from __future__ import annotations

from typing import Any

import pulumi

from infra.inventory import NODES, Inventory
from infra.placement import Plan, Runtime
from infra.spec import Workload
from infra.targets.local.cluster import Cluster, kubeconfig_path, localhost
from infra.targets.local.container_image import ContainerImage
from infra.targets.local.context import CLUSTER_MACHINE, Context, machines_of
from infra.targets.local.playbook import Playbook
from infra.targets.local.vm_tier import VmTier, ca_path

FIRST_NODE_PORT = 30080


class Workloads(pulumi.ComponentResource):
    """The containers and sandboxes of the plan."""

    def __init__(
        self, context: Context, cluster: Cluster, vm_tier: VmTier, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("hybrid:local:Workloads", "workloads", None, opts)
        self._context, self._vm_tier = context, vm_tier
        self._elastic = context.plan.on(Runtime.CONTAINER, Runtime.MICROVM)
        self._images = {
            name: ContainerImage(f"{name}-image", workload.image, _port(workload), pulumi.ResourceOptions(parent=self))
            for name, workload in self._elastic.items()
            if workload.image and "@sha256:" not in workload.image
        }
        nodes = tuple(host for host in context.inventory().hosts if NODES in host.groups)
        archives = [{"reference": i.reference, "path": i.archive} for i in self._images.values()]
        Playbook(
            "workloads",
            "workloads.yml",
            localhost(Inventory(nodes)),
            {
                "kubernetes_node_image_archives": archives,
                "cluster_workloads_kubeconfig": str(kubeconfig_path(context)),
                "cluster_workloads_timeout": 180 * context.patience,
                "cluster_workloads_platform": context.plan.spec.name,
                "cluster_workloads_pod_cidr": "10.244.0.0/16",
                "cluster_workloads_user_namespaces": True,
                "cluster_workloads": [self._manifest(name, workload) for name, workload in self._elastic.items()],
            },
            # A new database disk means a new authority, whose certificate the callers hold.
            [cluster.machine.instance_id, *(disk.owner for disk in vm_tier.data_disks.values())],
            pulumi.ResourceOptions(parent=self, depends_on=[cluster.bound, *vm_tier.playbooks]),
        )
        self.register_outputs({})

    def _manifest(self, name: str, workload: Workload) -> dict[str, Any]:
        placement = self._context.plan.placement(name)
        image = self._images.get(name)
        return {
            "name": name,
            "image": image.reference if image else workload.image,
            "image_pull_policy": "Never" if image else "IfNotPresent",
            "runtime": placement.runtime.value,
            "replicas": workload.replicas,
            "cpu": workload.resources.cpu,
            "memory": workload.resources.memory,
            "ports": list(workload.ports),
            "public": workload.public,
            "node_port": node_ports(self._context.plan).get(name, 0),
            "disk": workload.resources.disk,
            "environment": dict(workload.environment),
            "callers": [c for c in self._context.plan.callers_of(name) if c in self._elastic],
            **self._flows(name),
        }

    def _flows(self, name: str) -> dict[str, Any]:
        pods: list[dict[str, Any]] = []
        outside: list[dict[str, Any]] = []
        secrets: dict[str, Any] = {}
        secret_files: dict[str, str] = {}
        for flow in self._context.plan.flows():
            if flow.source != name:
                continue
            peer = flow.destination
            if peer in self._elastic:
                pods.append({"name": peer, "port": flow.port})
                continue
            for machine in machines_of(peer, self._context.plan.spec.workloads[peer].replicas):
                address = self._context.addresses[machine]
                outside.append({"name": peer, "address": address, "port": flow.port})
                if password := self._vm_tier.passwords.get(f"{name}@{peer}"):
                    secrets[f"{peer}-password"] = password.value
                    secret_files[f"{peer}-ca"] = str(ca_path(self._context, machine))
        return {
            "talks_to_pods": pods,
            "talks_to_addresses": outside,
            "secrets": secrets,
            "secret_files": secret_files,
        }


def node_ports(plan: Plan) -> dict[str, int]:
    """A fixed node port for each public workload of the cluster, in the spec's order."""
    public = [name for name, w in plan.on(Runtime.CONTAINER, Runtime.MICROVM).items() if w.public]
    return {name: FIRST_NODE_PORT + number for number, name in enumerate(public)}


def app_url(context: Context) -> str:
    """Where the first public workload answers; empty if there is none."""
    ports = node_ports(context.plan)
    if ports:
        return f"http://{context.addresses[CLUSTER_MACHINE]}:{next(iter(ports.values()))}"
    for name, workload in context.plan.on(Runtime.VM).items():
        if workload.public and workload.replicas:
            return f"http://{context.addresses[f'{name}-0']}:{workload.ports[0]}"
    return ""


def _port(workload: Workload) -> int:
    return workload.ports[0] if workload.ports else 0
