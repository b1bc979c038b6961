"""What can be decided but not deployed, on any target: told by its line before anything is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra.placement.types import Plan, Runtime
from infra.spec.errors import Location
from infra.spec.loader import shown, suggestion

_PROJECT = Path(__file__).parents[2]


def deployable(plan: Plan) -> Plan:
    """The plan itself.

    Raises:
        SpecError: with every workload for which there is nothing to run where it was placed.
    """
    if faults := list(_faults(plan)):
        raise plan.spec.origin.error(faults)
    return plan


def _faults(plan: Plan) -> Iterator[tuple[Location, str]]:
    programs = sorted(file.parent.name for file in _PROJECT.glob("workloads/*/main.go"))
    roles = sorted(path.name for path in _PROJECT.glob("roles/*/"))
    for placement in plan.placements:
        workload = plan.spec.workloads[placement.workload]
        here: Location = ("workloads", placement.workload)
        image, package = workload.image, workload.package
        if image and placement.runtime is Runtime.VM:
            why = placement.reasons[0].text if placement.reasons else "no score speaks for less"
            yield (*here, "image"), f"is placed on a VM, which needs `package` ({why})"
        elif image and "@sha256:" not in image and image not in programs:
            yield (*here, "image"), f"{shown(image)} is not a program under workloads/; {suggestion(image, programs)}"
        if package and package not in roles:
            yield (*here, "package"), f"{shown(package)} is not a role of the collection; {suggestion(package, roles)}"
        if package == "postgresql" and not workload.ports:
            yield here, "postgresql needs a port to listen on, e.g. ports: [5432]"
