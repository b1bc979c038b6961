"""Which instance type a workload of the VM tier gets."""

from __future__ import annotations

from infra.spec import Workload

# vCPUs and GiB, smallest first: burstable where a workload is small, then general purpose.
TYPES = {
    "t3.micro": (2, 1),
    "t3.small": (2, 2),
    "t3.medium": (2, 4),
    "t3.large": (2, 8),
    "m7i.xlarge": (4, 16),
    "m7i.2xlarge": (8, 32),
    "m7i.4xlarge": (16, 64),
    "m7i.8xlarge": (32, 128),
    "m7i.16xlarge": (64, 256),
    "m7i.48xlarge": (192, 768),
}
OPERATING_SYSTEM_GIB = 0.5  # systemd, journald, the SSM agent, and an Ansible run of 150 MiB beside the workload


def instance_type(workload: Workload) -> str | None:
    """The smallest type with the workload's CPUs and memory beside the operating system's; None if there is none."""
    memory = workload.resources.memory / 2**30 + OPERATING_SYSTEM_GIB
    fitting = (name for name, (cpus, gib) in TYPES.items() if cpus >= workload.resources.cpu and gib >= memory)
    return next(fitting, None)


def data_volume_gib(workload: Workload) -> int:
    """The data volume's size; 0 if the workload keeps nothing."""
    return -(-workload.resources.disk // 2**30)
