"""The stack's configuration, `hybrid-platform:aws`: what it may say, and every fault at once."""

from __future__ import annotations

import ipaddress
import re
from enum import Enum
from typing import Annotated, Any, Literal

import pulumi
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from infra.placement import Plan, Runtime
from infra.spec.models import OsRelease
from infra.targets.aws.public import shared_ports, too_many
from infra.targets.aws.site import LONGEST_PREFIX, PREFIX
from infra.targets.aws.sizes import instance_type

KEY = "aws"
# China, GovCloud, the sovereign and the secret ones: other names for hosts, services and Debian's images.
OTHER_PARTITIONS = ("cn-", "us-gov-", "us-iso", "eu-iso", "eusc-")
ANYWHERE = "0.0.0.0/0"

AccountId = Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
Cidr = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+\.\d+/\d+$")]
RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws:iam::\d{12}:role/.+$")]
Email = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]
AmiId = Annotated[str, StringConstraints(pattern=r"^ami-[0-9a-f]{8,17}$")]
AmiName = Annotated[str, StringConstraints(pattern=r"^debian-\d+-amd64-\d{8}-\d+$")]


# CloudWatch accepts only these; any other number fails in the middle of `pulumi up`.
RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)


def _known_retention(days: int) -> int:
    if days not in RETENTIONS:
        raise ValueError(f"CloudWatch knows only retentions of {', '.join(map(str, RETENTIONS))} days")
    return days


Retention = Annotated[int, AfterValidator(_known_retention)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Nat(str, Enum):
    """NONE: nothing in the VPC reaches the internet; the other two serve the private tier only."""

    NONE = "none"
    ONE = "one"
    PER_ZONE = "per_zone"


class NetworkConfig(_Section):
    cidr: Cidr = Field(default="10.64.0.0/16", description="The VPC's range, /16 to /20")
    nat: Nat = Field(default=Nat.NONE, description="Gateways through which the private tier reaches the internet")
    endpoint_zones: Literal["one", "all"] = Field(
        default="all", description="Zones with interface endpoints; one is cheaper and dies with its zone"
    )
    flow_log_days: Retention = Field(default=90, description="Retention of the flow logs")

    @field_validator("cidr")
    @classmethod
    def _private_and_roomy(cls, value: str) -> str:
        network = ipaddress.ip_network(value, strict=False)
        if str(network) != value:
            raise ValueError(f"{value} has host bits set; the network is {network}")
        if not network.is_private:
            raise ValueError(f"{value} is not a private range")
        if not 16 <= network.prefixlen <= 20:
            raise ValueError(f"/{network.prefixlen} is not between /16 and /20")
        return value


class ImageConfig(_Section):
    """The pins of one OS release. Changing one is the reviewed act that replaces roots."""

    debian: AmiName = Field(description="Name of an official Debian AMI; parent of the golden image and first root")
    golden: AmiId | None = Field(default=None, description="The promoted golden image; absent until there is one")


class VmTierConfig(_Section):
    images: dict[OsRelease, ImageConfig] = Field(description="Pins by OS release")
    instance_types: dict[str, str] = Field(
        default_factory=dict, description="Instance type by workload, where the one computed from resources will not do"
    )
    debian_mirror: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+/debian/?$")] | None = Field(
        default=None,
        description="Debian's archive for the package snapshot, with …-security beside it; absent: the one that the "
        "job's own Debian image is configured with",
    )


class AddonVersions(_Section):
    vpc_cni: str
    kube_proxy: str
    eks_pod_identity_agent: str
    coredns: str
    aws_ebs_csi_driver: str
    metrics_server: str

    @field_validator("*")
    @classmethod
    def _pinned(cls, value: str) -> str:
        if not re.fullmatch(r"v\d+\.\d+\.\d+-eksbuild\.\d+", value):
            raise ValueError(f"{value!r} is not a full add-on version such as v1.2.3-eksbuild.4")
        return value


class PoolConfig(_Section):
    instance_types: tuple[str, ...] = Field(default=("m7i.large", "m6i.large"), min_length=1)
    min_nodes: Annotated[int, Field(ge=0, le=100)] = 2
    max_nodes: Annotated[int, Field(ge=1, le=1000)] = 6

    @model_validator(mode="after")
    def _ordered(self) -> PoolConfig:
        if self.min_nodes > self.max_nodes:
            raise ValueError(f"min_nodes ({self.min_nodes}) is more than max_nodes ({self.max_nodes})")
        return self


class ClusterConfig(_Section):
    version: Annotated[str, StringConstraints(pattern=r"^1\.\d{2}$")]
    node_release: Annotated[str, StringConstraints(pattern=r"^1\.\d{2}\.\d+-\d{8}$")] = Field(
        description="Release of the EKS-optimized Amazon Linux 2023 image"
    )
    addons: AddonVersions
    autoscaler_image: Annotated[str, StringConstraints(pattern=r"^[a-z0-9./-]+:v[0-9.]+$")] = Field(
        description="Upstream cluster-autoscaler; mirrored into this account and run by digest"
    )
    public_access_cidrs: tuple[Cidr, ...] = Field(
        default=(), description="Who may reach the API server from outside; empty: nobody, the endpoint is private"
    )
    admin_roles: tuple[RoleArn, ...] = Field(default=(), description="IAM roles of the cluster's administrators")
    spot: bool = Field(default=False, description="Run what tolerates interruption on spot capacity")
    container: PoolConfig = PoolConfig()
    spot_pool: PoolConfig = PoolConfig(min_nodes=0)
    microvm: PoolConfig = PoolConfig(min_nodes=1)

    @field_validator("public_access_cidrs")
    @classmethod
    def _not_the_world(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(ipaddress.ip_network(cidr).prefixlen < 8 for cidr in value):
            raise ValueError("opens the API server to (nearly) the whole internet; name the ranges of your offices")
        return value

    @model_validator(mode="after")
    def _versions_agree(self) -> ClusterConfig:
        for what, found in (("node_release", self.node_release), ("addons.kube_proxy", self.addons.kube_proxy[1:])):
            if not found.startswith(f"{self.version}."):
                raise ValueError(f"{what} {found} is not of Kubernetes {self.version}")
        return self


class WindowConfig(_Section):
    """A maintenance window; the canary group's opens `canary_days` before the others'."""

    schedule_day: Literal["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"] = "TUE"
    hour: Annotated[int, Field(ge=0, le=23)] = 3
    timezone: str = "Etc/UTC"
    hours: Annotated[int, Field(ge=2, le=24)] = 4
    canary_days: Annotated[int, Field(ge=1, le=6)] = Field(default=2, description="Head start of the canary group")


class PatchingConfig(_Section):
    window: WindowConfig = WindowConfig()
    canaries: tuple[str, ...] = Field(default=(), description="Workloads patched first; empty: the least regulated")


class BackupConfig(_Section):
    lock: Literal["off", "governance", "compliance"] = Field(
        default="governance", description="compliance: after `grace_days` nobody, not even root, can shorten retention"
    )
    grace_days: Annotated[int, Field(ge=3, le=36500)] = 14


class ObservabilityConfig(_Section):
    alarm_email: Email = Field(description="Who is paged; AWS asks this address for confirmation")
    log_days: Retention = Field(default=365, description="Retention of every log group but the flow logs")
    monthly_budget_usd: Annotated[int, Field(ge=1)]


class AuditConfig(_Section):
    trail: bool = Field(default=True, description="Own CloudTrail; off where the organization's covers the account")
    guardduty: bool = Field(default=True, description="GuardDuty; off where a delegated administrator enables it")


class IngressConfig(_Section):
    """The way in to public workloads. Without a certificate the load balancer stays inside the VPC."""

    certificate_arn: str | None = Field(default=None, pattern=r"^arn:aws:acm:[a-z0-9-]+:\d{12}:certificate/.+$")
    hostname: str | None = Field(default=None, description="Name that the certificate is for")
    client_cidrs: tuple[Cidr, ...] = Field(default=(), description="Who may connect; nobody outside when empty")

    @model_validator(mode="after")
    def _encrypted_when_public(self) -> IngressConfig:
        if self.client_cidrs and not self.certificate_arn:
            raise ValueError("client_cidrs needs certificate_arn: nothing is served to clients outside without TLS")
        if self.certificate_arn and not (self.hostname and self.client_cidrs):
            raise ValueError("certificate_arn needs hostname and client_cidrs beside it")
        return self


class EmulatorConfig(_Section):
    """Where an emulator answers instead of AWS; for `make test-aws`."""

    url: str = Field(pattern=r"^http://(127\.0\.0\.1|localhost):\d+$", description="Every service that is not below")
    services: dict[str, str] = Field(default_factory=dict, description="Another endpoint for some services, by name")


class AwsConfig(_Section):
    account: AccountId = Field(description="The only account that this stack may touch")
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d$")]
    zones: Annotated[tuple[str, ...], Field(min_length=2, max_length=3)]
    owner: Annotated[str, StringConstraints(pattern=r"^[\w .@-]{1,64}$")] = Field(description="Tag: who answers for it")
    protect: bool = Field(default=True, description="Deletion protection of everything that holds data")
    emulator: EmulatorConfig | None = Field(default=None, description="For tests: endpoints on loopback")
    network: NetworkConfig = NetworkConfig()
    vm_tier: VmTierConfig
    cluster: ClusterConfig
    patching: PatchingConfig = PatchingConfig()
    backup: BackupConfig = BackupConfig()
    observability: ObservabilityConfig
    audit: AuditConfig = AuditConfig()
    ingress: IngressConfig = IngressConfig()

    @field_validator("region")
    @classmethod
    def _commercial(cls, value: str) -> str:
        if value.startswith(OTHER_PARTITIONS):
            raise ValueError("is of a partition where hosts, services and Debian's images have other names")
        return value

    @field_validator("zones")
    @classmethod
    def _zones_of_the_region(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        region = info.data.get("region", "")
        strangers = [zone for zone in value if not re.fullmatch(f"{region}[a-h]", zone)]
        if region and strangers:
            raise ValueError(f"{', '.join(strangers)} is not a zone of {region} (a region's letters are a to h)")
        if len(set(value)) < len(value):
            raise ValueError("names a zone twice")
        return value


class ConfigError(Exception):
    """All faults of a stack's configuration, one `path: what is wrong` a line."""


def parse_config(data: Any, plan: Plan) -> AwsConfig:
    """Validate a stack's `hybrid-platform:aws` against the model and against the plan.

    Raises:
        ConfigError: with every fault.
    """
    try:
        config = AwsConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(detail) for detail in error.errors(include_url=False))) from None
    faults = [f"hybrid-platform:{KEY}.{path}: {message}" for path, message in _contradictions(config, plan)]
    if faults:
        raise ConfigError("\n".join(faults))
    return config


def load_config(stack: pulumi.Config, plan: Plan) -> AwsConfig:
    """The stack's configuration, or a RunError that names all its faults."""
    faults = name_faults(plan.spec.name, pulumi.get_stack())
    try:
        config = parse_config(stack.require_object(KEY), plan)
    except ConfigError as error:
        faults.append(str(error))
    if faults:
        raise pulumi.RunError("\n".join(faults))
    return config


def name_faults(platform: str, stack: str) -> list[str]:
    """What AWS has against names that begin with these two."""
    prefix = f"{platform}-{stack}"
    faults = []
    if not PREFIX.fullmatch(prefix):
        faults.append(
            f"stack {stack}: AWS's names begin with {prefix!r} here; it takes a-z, 0-9 and single dashes between them"
        )
    if len(prefix) > LONGEST_PREFIX:
        faults.append(f"stack {stack}: {prefix!r} is longer than {LONGEST_PREFIX} characters; name the stack shorter")
    return faults


def _fault(detail: Any) -> str:
    path = ".".join(str(part) for part in (f"hybrid-platform:{KEY}", *detail["loc"]) if part != "[key]")
    if detail["type"] == "missing":
        return f"{path}: is missing"
    if detail["type"] == "extra_forbidden":
        return f"{path}: is not a known option"
    message = str(detail["ctx"]["error"]) if detail["type"] == "value_error" else detail["msg"]
    shown = "" if isinstance(detail["input"], dict) else f"{detail['input']!r}: "
    return f"{path}: {shown}{message[0].lower()}{message[1:]}"


def _contradictions(config: AwsConfig, plan: Plan) -> list[tuple[str, str]]:
    """What is well-formed, but does not fit this platform.yaml."""
    machines = plan.on(Runtime.VM)
    faults = [
        ("vm_tier.images", f"has no pins for {os}, which {name} needs")
        for name, os in ((name, workload.os) for name, workload in machines.items())
        if os not in config.vm_tier.images
    ]
    faults += [
        (f"vm_tier.instance_types.{name}", f"is missing: no instance type has what {name} asks for by itself")
        for name, workload in machines.items()
        if name not in config.vm_tier.instance_types and instance_type(workload) is None
    ]
    faults += [
        (f"vm_tier.instance_types.{name}", f"is no workload of the VM tier; there are {', '.join(machines)}")
        for name in config.vm_tier.instance_types
        if name not in machines
    ]
    faults += [
        ("patching.canaries", f"{name} is no workload of the VM tier; there are {', '.join(machines)}")
        for name in config.patching.canaries
        if name not in machines
    ]
    faults += [
        ("ingress", f"{' and '.join(names)} would share node port {port}, which is made of the name; rename one")
        for port, names in shared_ports(plan).items()
    ]
    faults += [("ingress", fault) for fault in too_many(plan)]
    return faults
