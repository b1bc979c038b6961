"""Public workloads: the ports on which nodes take their traffic from the load balancer, and how many there may be."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator

from infra.placement import Plan, Runtime

NODE_PORTS = range(30000, 32768)
# Fixed by AWS: target groups of a load balancer, and of an Auto Scaling group, which each pool of nodes is.
GROUPS_OF_A_BALANCER, GROUPS_OF_A_POOL = 100, 50


def public_workloads(plan: Plan) -> list[str]:
    return [name for name, workload in plan.spec.workloads.items() if workload.public]


def node_port(workload: str) -> int:
    """A function of the name alone, so that no other workload moves it."""
    return NODE_PORTS[zlib.crc32(workload.encode()) % len(NODE_PORTS)]


def shared_ports(plan: Plan) -> dict[int, list[str]]:
    """Ports that more than one public workload in the cluster would get; Kubernetes gives a port to one only."""
    takers: defaultdict[int, list[str]] = defaultdict(list)
    for name, workload in plan.on(Runtime.CONTAINER, Runtime.MICROVM).items():
        if workload.public:
            takers[node_port(name)].append(name)
    return {port: names for port, names in takers.items() if len(names) > 1}


def too_many(plan: Plan) -> Iterator[str]:
    """What AWS would refuse after all else is made, and raises for nobody."""
    public = public_workloads(plan)
    if len(public) > GROUPS_OF_A_BALANCER:
        yield f"there are {len(public)} public workloads; one load balancer serves {GROUPS_OF_A_BALANCER}"
    pools = Counter(plan.placement(name).runtime for name in public)
    for runtime, count in pools.items():
        if runtime is not Runtime.VM and count > GROUPS_OF_A_POOL:
            yield f"{count} public workloads are on nodes of {runtime.value}, which serve {GROUPS_OF_A_POOL}"
