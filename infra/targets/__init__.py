"""Provision a Plan: `local` on this machine, `aws` in an account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import pulumi

from infra.placement import Plan


@dataclass(frozen=True)
class Platform:
    """What a deployed platform tells the world; every field becomes a stack output.

    Attributes:
        app_url: where the public workload answers.
        inventory: `Inventory.to_ansible()`.
        kubeconfig: an administrator's kubeconfig (secret).
        machines: facts of each machine by name, as the target knows them.
    """

    app_url: pulumi.Input[str]
    inventory: pulumi.Input[dict[str, Any]]
    kubeconfig: pulumi.Input[str]
    machines: pulumi.Input[dict[str, Any]]


class Target(Protocol):
    def deploy(self, plan: Plan) -> Platform: ...


def target_for_stack(config: pulumi.Config) -> Target:
    """The target that the stack's `hybrid-platform:target` names.

    Raises:
        pulumi.RunError: if it names none, with the ones there are.
    """
    name = config.require("target")
    if name == "local":
        from infra.targets.local import LocalTarget

        return LocalTarget(config)
    if name == "aws":
        from infra.targets.aws import AwsTarget

        return AwsTarget(config)
    raise pulumi.RunError(f"hybrid-platform:target is {name!r}; it must be local or aws")
