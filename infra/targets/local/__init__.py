"""The local target: the whole platform on this Linux machine."""

from __future__ import annotations

import pulumi

from infra.machines.accelerator import accelerator
from infra.machines.patience import patience
from infra.machines.state import addresses, gateway, state, subnet
from infra.placement import Plan
from infra.targets import Platform
from infra.targets.local.cluster import Cluster
from infra.targets.local.context import CLUSTER_MACHINE, Context, has_cluster, key_path, machine_names
from infra.targets.local.host_settings import HostSettings
from infra.targets.local.machine import facts
from infra.targets.local.network import Network
from infra.targets.local.ssh_key import SshKey
from infra.targets.local.vm_tier import VmTier
from infra.targets.local.workloads import Workloads, app_url

DRIVERS = ("auto", "qemu", "nspawn")


class LocalTarget:
    """Deploys a plan to machines on a bridge of this host."""

    def __init__(self, config: pulumi.Config) -> None:
        driver = config.get("machine_driver") or "auto"
        if driver not in DRIVERS:
            raise pulumi.RunError(
                f"hybrid-platform:machine_driver is {driver!r}; it must be one of {', '.join(DRIVERS)}"
            )
        self._driver = driver

    def deploy(self, plan: Plan) -> Platform:
        here = state()
        network_range = subnet(here)
        driver = self._resolved_driver()
        context = Context(
            plan=plan,
            state=here,
            subnet=network_range,
            addresses=addresses(network_range, machine_names(plan)),
            driver=driver,
            patience=patience(driver),
            network=Network(
                "network",
                here.bridge,
                str(network_range),
                gateway(network_range),
                pulumi.ResourceOptions(depends_on=[HostSettings("host-settings")]),
            ),
            ssh_key=SshKey("ssh-key", str(key_path(here))),
        )
        vm_tier = VmTier(context)
        machines = dict(vm_tier.machines)
        kubeconfig: pulumi.Input[str] = ""
        if has_cluster(plan):
            cluster = Cluster(context)
            machines[CLUSTER_MACHINE] = cluster.machine
            kubeconfig = cluster.kubeconfig
            Workloads(context, cluster, vm_tier)
        return Platform(
            app_url=app_url(context),
            inventory=context.inventory().to_ansible(),
            kubeconfig=kubeconfig,
            machines={name: facts(machine) for name, machine in machines.items()},
        )

    def _resolved_driver(self) -> str:
        if self._driver == "auto":
            return "qemu" if accelerator().is_hardware else "nspawn"
        return self._driver
