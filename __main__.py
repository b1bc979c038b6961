"""Deploy the platform that platform.yaml describes to this stack's target."""

import pulumi

from infra.placement import deployable, place
from infra.spec import SpecError, load_spec
from infra.targets import target_for_stack

config = pulumi.Config()
try:
    plan = deployable(place(load_spec(config.get("spec") or "platform.yaml")))
    platform = target_for_stack(config).deploy(plan)
except SpecError as error:
    raise pulumi.RunError(str(error)) from None

pulumi.export("app_url", platform.app_url)
pulumi.export("inventory", platform.inventory)
pulumi.export("kubeconfig", platform.kubeconfig)
pulumi.export("machines", platform.machines)
