"""The estate as it is meant to be: what the plan says, with every wall as strong as its runtime promises."""

from __future__ import annotations

from infra.insight.estate import OPEN, Connection, Estate, Listener, Machine, Unit
from infra.placement import Plan, Runtime

CLUSTER = "cluster-0"


def planned(plan: Plan) -> Estate:
    machines: list[Machine] = []
    units: list[Unit] = []
    for name, workload in plan.on(Runtime.VM).items():
        for ordinal in range(max(workload.replicas, 1)):
            machine = f"{name}-{ordinal}"
            machines.append(Machine(machine, kernel=machine))
            units.append(
                Unit(machine, name, Runtime.VM, machine, volumes=(f"{machine}-data",) if workload.stateful else ())
            )
    clustered = plan.on(Runtime.CONTAINER, Runtime.MICROVM)
    if clustered:
        machines.append(Machine(CLUSTER, kernel=CLUSTER, is_node=True, is_control_plane=True))
    for name, workload in clustered.items():
        runtime = plan.placement(name).runtime
        units += [
            Unit(f"{name}-{ordinal}", name, runtime, CLUSTER, image=workload.image or "", identity=f"{name}/default")
            for ordinal in range(max(workload.replicas, 1))
        ]
    flows = list(plan.flows())
    connections = [Connection(f.source, f.destination, f.port, "talks_to") for f in flows]
    # What is open to everybody is open to the machines of the VM tier; pods may leave their namespace only as said.
    connections += [
        Connection(machine.workload, name, workload.ports[0], OPEN)
        for name, workload in plan.spec.workloads.items()
        if workload.public
        for machine in units
        if machine.runtime is Runtime.VM and machine.workload != name
    ]
    return Estate(
        origin="planned",
        machines=tuple(machines),
        units=tuple(units),
        connections=tuple(dict.fromkeys(connections)),
        dependencies=tuple(dict.fromkeys((f.source, f.destination) for f in flows)),
        listeners=tuple(Listener(name, port) for name, w in plan.spec.workloads.items() for port in w.ports),
    )
