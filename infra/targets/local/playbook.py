"""A run of one playbook as a resource: it runs when what it is made of, or what it is told, changes."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra.machines.state import state
from infra.targets.local import ansible
from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON: tuple[str, ...] = ()


class Playbook(Resource, module="local", name="Playbook"):
    """Runs playbooks/<playbook> on `inventory`.

    An edited role is an update of the runs that use it, because the digest of everything that the
    playbook reaches is an input. `triggers` are values that it does not read but depends on, such
    as the identity of a machine's root disk.
    """

    def __init__(
        self,
        name: str,
        playbook: str,
        inventory: pulumi.Input[dict[str, Any]],
        variables: pulumi.Input[dict[str, Any]] | None = None,
        triggers: pulumi.Input[list[Any]] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "name": name,
            "playbook": playbook,
            "content": ansible.content_digest(playbook),
            "inventory": inventory,
            "variables": variables or {},
            "triggers": triggers or [],
        }
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def create(inputs: Values) -> Values:
    ansible.run_playbook(state(), inputs["name"], inputs["playbook"], inputs["inventory"], inputs["variables"])
    return {}


def update(inputs: Values, old: Values) -> Values:
    return create(inputs)


def delete(outputs: Values) -> None:
    """What it configured goes with the machines."""


def is_intact(outputs: Values) -> bool:
    return True
