"""The ground of a local stack: machines on a bridge of one host, each with its own firewall and no other wall."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from infra.insight.estate import HOST, Machine, Unit
from infra.insight.ground import Ground, Rule
from infra.insight.network_policy import Object
from infra.inventory import CONTROL_PLANE, NODES, VM_TIER
from infra.spec import Runtime


def local_ground(outputs: Mapping[str, Any], resources: Iterable[Object]) -> Ground:
    resources = list(resources)
    children = outputs["inventory"]["all"]["children"]
    control_plane, nodes, vm_tier = (
        children.get(group, {}).get("hosts", {}) for group in (CONTROL_PLANE, NODES, VM_TIER)
    )
    inside = {
        r["outputs"]["name"]: r["outputs"] for r in resources if r["type"].endswith(":Machine") and r.get("outputs")
    }
    machines = tuple(
        replace(
            _machine(name, facts),
            cpus=inside.get(name, {}).get("cpu"),
            # A disk of the VM tier is its workload's; that of a node holds the volumes of any pod.
            volumes=() if name in vm_tier else _data_disk(inside.get(name, {})),
            is_node=name in nodes,
            is_control_plane=name in control_plane,
        )
        for name, facts in sorted(outputs["machines"].items())
    )
    return Ground(
        machines,
        tuple(
            Unit(
                machine.name,
                outputs["machines"][machine.name]["workload"],
                Runtime.VM,
                machine.name,
                volumes=_data_disk(inside.get(machine.name, {})),
            )
            for machine in machines
            if machine.name in vm_tier
        ),
        _firewalls(resources),
        {machine.name: (machine.address,) for machine in machines},
    )


def _machine(name: str, facts: Mapping[str, Any]) -> Machine:
    driver, shares = facts.get("driver", ""), bool(facts.get("shares_host_kernel"))
    return Machine(
        name,
        kernel=HOST if shares else name,
        driver=driver,
        host=HOST,
        image=facts.get("image", ""),
        address=facts["address"],
        stand_in="nspawn stands here for a VM" if driver == "nspawn" else "",
    )


def _firewalls(resources: Iterable[Object]) -> dict[str, tuple[Rule, ...]]:
    """What each machine's firewall lets in besides SSH, as the run that configured it was told."""
    firewalls: dict[str, tuple[Rule, ...]] = {}
    for resource in resources:
        if not resource["type"].endswith(":Playbook"):
            continue
        inputs = resource["inputs"]
        rules = rules_of(inputs["variables"])
        for host in inputs["inventory"]["all"]["hosts"] if rules else ():
            firewalls[host] = (*firewalls.get(host, ()), *rules)
    return firewalls


def rules_of(variables: Mapping[str, Any]) -> tuple[Rule, ...]:
    """What the firewall role was told to let in."""
    return tuple(
        Rule(int(rule["port"]), tuple(rule["sources"]))
        for rule in variables.get("firewall_allow") or ()
        if rule.get("protocol", "tcp") == "tcp"
    )


def _data_disk(outputs: Mapping[str, Any]) -> tuple[str, ...]:
    disk = outputs.get("data_disk")
    return (disk.rpartition("/")[2],) if disk else ()
