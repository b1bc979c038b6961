"""What is deployed stands where the plan says: the decision is not a recommendation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from infra.placement import Runtime
from policy.resources import Deployment, Violation, rule, violation

MACHINE = "pulumi-python:dynamic/local:Machine"
CLUSTER = "cluster"  # what the machines of a cluster run is the cluster's business


@rule
def workloads_run_where_they_were_placed(deployment: Deployment) -> Iterator[Violation]:
    """A workload that was placed on machines has them, all of them, and no other workload has one. On AWS every
    resource that names a workload also names the runtime that was decided."""
    plan = deployment.plan
    decided = {placement.workload: placement.runtime for placement in plan.placements}
    machines: Counter[str] = Counter()
    for resource in deployment:
        if resource.is_a(MACHINE):
            workload = resource.props.get("workload", "")
        else:
            workload = resource.tags.get("hybrid:workload", "") if resource.type.startswith("aws:") else ""
            named = resource.tags.get("hybrid:runtime") if workload in decided else None
            if workload in decided and named != decided[workload].value:
                yield violation(resource, f"is for {workload} on {named}; it was decided {decided[workload].value}")
        if workload and workload != CLUSTER and workload not in decided:
            yield violation(resource, f"is for {workload}, which platform.yaml does not know")
        elif resource.is_a(MACHINE) and workload in decided and decided[workload] is not Runtime.VM:
            yield violation(resource, f"is a machine for {workload}; it was decided {decided[workload].value}")
        machines[workload] += resource.is_a(MACHINE)
    for group in deployment.of("autoscaling/group"):
        workload = group.tags.get("hybrid:workload", "")
        machines[workload] += 1
        if decided.get(workload) is not Runtime.VM:
            yield violation(group, f"is a machine for {workload}, which was not decided vm")
    for workload, spec in plan.on(Runtime.VM).items():
        if machines.total() and machines[workload] != spec.replicas:
            yield Violation(f"{workload} has {machines[workload]} machines; platform.yaml asks for {spec.replicas}")


@rule
def every_wall_has_its_nodes(deployment: Deployment) -> Iterator[Violation]:
    """Sandboxed workloads have nodes of their own, on which nothing else is scheduled."""
    if not deployment.of("eks/cluster"):
        return
    groups = [
        ((group.props.get("labels") or {}).get("hybrid.platform/runtime"), group)
        for group in deployment.of("eks/nodeGroup")
    ]
    pools = {named for named, _ in groups}
    for runtime in (Runtime.CONTAINER, Runtime.MICROVM):
        if deployment.plan.on(runtime) and runtime.value not in pools:
            yield Violation(f"there are no nodes for {', '.join(deployment.plan.on(runtime))}, decided {runtime.value}")
    for named, group in groups:
        taints = {taint.get("effect") for taint in group.props.get("taints") or ()}
        if named == Runtime.MICROVM.value and not taints & {"NO_SCHEDULE", "NO_EXECUTE"}:
            yield violation(group, "takes workloads that need no sandbox beside those that broke out of one")
