"""What runs in the cluster, as the jobs read it: a document, because it grows with the platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from infra.placement import Flow, Plan, Runtime
from infra.spec import Workload
from infra.targets.aws.public import node_port
from infra.targets.aws.vm_tier import password_callers


def cluster_variables(plan: Plan) -> dict[str, Any]:
    """What the playbooks inside the cluster are told, as far as the plan knows it; jobs/variables.py adds addresses,
    digests and passwords when the operator runs."""
    elastic = plan.on(Runtime.CONTAINER, Runtime.MICROVM)
    flows: dict[str, list[Flow]] = {name: [] for name in plan.spec.workloads}
    for flow in plan.flows():
        flows[flow.source].append(flow)
    return {
        # EKS brings DNS; the classes of storage and runtime are manifests of ours, applied before.
        "cluster_services_dns": False,
        "cluster_services_storage_class": "",
        "cluster_services_runtime_classes": {},
        "cluster_policies_decisions": {p.workload: p.runtime.value for p in plan.placements},
        "cluster_workloads_platform": plan.spec.name,
        "cluster_workloads": [_workload(plan, name, elastic, flows[name]) for name in elastic],
    }


def described(plan: Plan) -> dict[str, Any]:
    """What the jobs read of the plan: the images to build, the databases whose passwords callers need, and the
    playbooks' variables. It grows with the platform, which no buildspec and no policy may."""
    elastic = plan.on(Runtime.CONTAINER, Runtime.MICROVM)
    return {
        "images": {name: workload.image for name, workload in elastic.items() if workload.image},
        "databases": [name for name in plan.on(Runtime.VM) if password_callers(plan, name)],
        "variables": cluster_variables(plan),
    }


def _workload(plan: Plan, name: str, elastic: Mapping[str, Workload], flows: Sequence[Flow]) -> dict[str, Any]:
    spec = elastic[name]
    return {
        "name": name,
        "runtime": plan.placement(name).runtime.value,
        "replicas": spec.replicas,
        "cpu": spec.resources.cpu,
        "memory": spec.resources.memory,
        "disk": spec.resources.disk,
        "ports": list(spec.ports),
        "public": spec.public,
        "node_port": node_port(name) if spec.public else 0,
        "environment": dict(spec.environment),
        "callers": [caller for caller in plan.callers_of(name) if caller in elastic],
        "talks_to_pods": [{"name": f.destination, "port": f.port} for f in flows if f.destination in elastic],
        "talks_to_machines": [{"name": f.destination, "port": f.port} for f in flows if f.destination not in elastic],
    }
