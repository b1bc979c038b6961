"""The ports on which nodes take the traffic of public workloads from the load balancer."""

from __future__ import annotations

import zlib
from collections import defaultdict

from infra.placement import Plan, Runtime

NODE_PORTS = range(30000, 32768)


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
