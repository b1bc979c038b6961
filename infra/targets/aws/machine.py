"""One machine of the VM tier: it keeps its address and its data, and replaces its root."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.placement import Runtime
from infra.spec import Workload
from infra.targets.aws.boot import user_data
from infra.targets.aws.iam import Statement
from infra.targets.aws.site import Site, workload_tags
from infra.targets.aws.sizes import data_volume_gib

ROOT_GIB = 10
READY = "ready"
# The longest first boot: packages, roles, health; AWS abandons the launch after it.
READY_SECONDS = 7200


@dataclass(frozen=True)
class Bundle:
    """Where a machine finds the collection and its packages.

    Attributes:
        digest: SHA-256 of the bundle: its name in the bucket and the proof of its content. Machines read the current
            one from a parameter, so that an edited role replaces no root.
        packages_url: the package snapshot.
        readable: statements that a role needs to fetch all this.
        uploaded: what must exist before a machine may boot.
    """

    bucket: str
    digest: str
    packages_url: str
    readable: Sequence[Statement]
    uploaded: Sequence[pulumi.Resource]


@dataclass(frozen=True)
class RootImage:
    """What a member's root is made from.

    Attributes:
        pin: the stack's configuration that names it: an AMI id, or the name of an official Debian AMI.
        golden: whether it is a promoted golden image, or plain Debian that takes the roles at first boot.
    """

    ami_id: pulumi.Input[str]
    pin: str
    golden: bool


@dataclass(frozen=True)
class StatefulMemberArgs:
    """
    Attributes:
        after: the members that must be healthy before this one's root is replaced.
    """

    site: Site
    workload: str
    spec: Workload
    ordinal: int
    zone: str
    subnet_id: pulumi.Input[str]
    security_group_ids: Sequence[pulumi.Input[str]]
    image: RootImage
    instance_type: str
    instance_profile: pulumi.Input[str]
    key_arn: pulumi.Input[str]
    bundle: Bundle
    alarm_topic_arn: pulumi.Input[str]
    protect: bool
    after: Sequence[pulumi.Resource]


class StatefulMember(pulumi.ComponentResource):
    """One VM of a workload: a fixed network interface, an encrypted data volume that outlives the machine, and a
    root that is replaced with every promoted image.

    Attributes:
        host: its name, `<workload>-<ordinal>`.
        ready: the group; it exists once the member has passed its health gate.
    """

    host: str
    private_ip: pulumi.Output[str]
    volume: aws.ebs.Volume | None
    ready: aws.autoscaling.Group

    def __init__(self, name: str, args: StatefulMemberArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:StatefulMember", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.host, self.zone = f"{args.workload}-{args.ordinal}", args.zone
        self._tags = {
            **workload_tags(f"{args.site.prefix}-{self.host}", args.workload, Runtime.VM.value),
            "hybrid:member": self.host,
            "PatchGroup": patch_group(args.site, args.workload),
        }
        interface = aws.ec2.NetworkInterface(
            name,
            subnet_id=args.subnet_id,
            security_groups=args.security_group_ids,
            description=f"{args.site.prefix}: {self.host}",
            tags=self._tags,
            opts=self._child,
        )
        self.private_ip = interface.private_ip
        self.volume = self._data_volume()
        self.ready = self._group(self._template(interface))
        self._alarms()
        self.register_outputs({"private_ip": self.private_ip})

    @property
    def group_name(self) -> str:
        """The group is replaced when its name changes: with the pin of the image, with the size, or with the zone,
        whose interface the old root would not let go of. Nothing else replaces a root; an edited boot script waits for
        the next one."""
        root = f"{self._args.image.pin} {self._args.instance_type} {self._args.zone}"
        return f"{self._args.site.prefix}-{self.host}-{hashlib.sha256(root.encode()).hexdigest()[:8]}"

    def _data_volume(self) -> aws.ebs.Volume | None:
        size = data_volume_gib(self._args.spec)
        if not size:
            return None
        return aws.ebs.Volume(
            f"{self._name}-data",
            availability_zone=self._args.zone,
            size=size,
            type="gp3",
            encrypted=True,
            kms_key_id=self._args.key_arn,
            # What leaves by `pulumi destroy` or by mistake leaves a snapshot behind, where data is protected.
            final_snapshot=self._args.protect,
            tags={**self._tags, "hybrid:backup": self._args.spec.checklist.compliance.value},
            opts=pulumi.ResourceOptions(parent=self, protect=self._args.protect),
        )

    def _template(self, interface: aws.ec2.NetworkInterface) -> aws.ec2.LaunchTemplate:
        args = self._args
        tags = {**args.site.tags, **self._tags}
        return aws.ec2.LaunchTemplate(
            self._name,
            image_id=args.image.ami_id,
            instance_type=args.instance_type,
            update_default_version=True,
            ebs_optimized="true",
            iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=args.instance_profile),
            network_interfaces=[
                aws.ec2.LaunchTemplateNetworkInterfaceArgs(device_index=0, network_interface_id=interface.id)
            ],
            block_device_mappings=[root_device(args.key_arn, ROOT_GIB)],
            metadata_options=imds_v2_only(),
            monitoring=aws.ec2.LaunchTemplateMonitoringArgs(enabled=True),
            maintenance_options=aws.ec2.LaunchTemplateMaintenanceOptionsArgs(auto_recovery="default"),
            user_data=self._user_data(),
            tag_specifications=tagged_at_launch(tags),
            tags=self._tags,
            opts=self._child,
        )

    def _user_data(self) -> pulumi.Input[str]:
        args = self._args
        fixed = {
            "region": args.site.region,
            "member": self.host,
            "workload": args.workload,
            "group": self.group_name,
            "ports": " ".join(str(port) for port in args.spec.ports),
            "path": args.site.path,
            "golden": "yes" if args.image.golden else "no",
            "bucket": args.bundle.bucket,
            "packages": args.bundle.packages_url,
        }
        if not self.volume:
            return user_data("member.sh", {**fixed, "volume": ""})
        return self.volume.id.apply(lambda volume: user_data("member.sh", {**fixed, "volume": volume}))

    def _group(self, template: aws.ec2.LaunchTemplate) -> aws.autoscaling.Group:
        """A group of one brings a lost member back by itself. Its creation ends only when the member has completed the
        `ready` hook, which is the health gate that the next member waits for."""
        tags = {**self._args.site.tags, **self._tags}
        return aws.autoscaling.Group(
            self._name,
            name=self.group_name,
            min_size=1,
            max_size=1,
            desired_capacity=1,
            # The interface decides on the subnet; naming one here as well is refused.
            availability_zones=[self._args.zone],
            health_check_type="EC2",
            health_check_grace_period=300,
            launch_template=aws.autoscaling.GroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            initial_lifecycle_hooks=[
                aws.autoscaling.GroupInitialLifecycleHookArgs(
                    name=READY,
                    lifecycle_transition="autoscaling:EC2_INSTANCE_LAUNCHING",
                    heartbeat_timeout=READY_SECONDS,
                    default_result="ABANDON",
                )
            ],
            wait_for_capacity_timeout=f"{READY_SECONDS // 60}m",
            # Interface and volume can be held by one machine only: the old one goes first.
            instance_maintenance_policy=aws.autoscaling.GroupInstanceMaintenancePolicyArgs(
                min_healthy_percentage=0, max_healthy_percentage=100
            ),
            enabled_metrics=["GroupInServiceInstances"],
            tags=[
                aws.autoscaling.GroupTagArgs(key=key, value=value, propagate_at_launch=True)
                for key, value in tags.items()
            ],
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*self._args.after, *self._args.bundle.uploaded],
                delete_before_replace=True,
                custom_timeouts=pulumi.CustomTimeouts(create="130m", delete="30m"),
            ),
        )

    def _alarms(self) -> None:
        """The group replaces a member whose host or system fails, EC2 may recover it before; both tell somebody."""
        for metric, namespace, bad, why in (
            ("GroupInServiceInstances", "AWS/AutoScaling", ("LessThanThreshold", 1.0), "is not in service"),
            ("StatusCheckFailed", "AWS/EC2", ("GreaterThanOrEqualToThreshold", 1.0), "fails its status checks"),
        ):
            aws.cloudwatch.MetricAlarm(
                f"{self._name}-{metric}",
                alarm_description=f"{self.group_name} {why}. It is being replaced or recovered; see docs/aws.md.",
                namespace=namespace,
                metric_name=metric,
                dimensions={"AutoScalingGroupName": self.ready.name},
                statistic="Minimum" if namespace == "AWS/AutoScaling" else "Maximum",
                comparison_operator=bad[0],
                threshold=bad[1],
                period=60,
                evaluation_periods=5,
                # A member that is gone has no status checks; that it is gone is the other alarm's business.
                treat_missing_data="breaching" if namespace == "AWS/AutoScaling" else "notBreaching",
                alarm_actions=[self._args.alarm_topic_arn],
                ok_actions=[self._args.alarm_topic_arn],
                tags=self._tags,
                opts=self._child,
            )


def patch_group(site: Site, workload: str) -> str:
    return f"{site.prefix}-{workload}"


def imds_v2_only() -> aws.ec2.LaunchTemplateMetadataOptionsArgs:
    """Session tokens only, and no hop beyond the machine: a container on it cannot take its role."""
    return aws.ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled",
        http_tokens="required",
        http_put_response_hop_limit=1,
        instance_metadata_tags="disabled",
    )


def root_device(
    key_arn: pulumi.Input[str], gib: int, device: str = "/dev/xvda"
) -> aws.ec2.LaunchTemplateBlockDeviceMappingArgs:
    return aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
        device_name=device,
        ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
            volume_size=gib, volume_type="gp3", encrypted="true", kms_key_id=key_arn, delete_on_termination="true"
        ),
    )


def tagged_at_launch(tags: Mapping[str, str]) -> list[aws.ec2.LaunchTemplateTagSpecificationArgs]:
    """The provider's default tags do not reach what a launch template launches."""
    return [
        aws.ec2.LaunchTemplateTagSpecificationArgs(resource_type=kind, tags=dict(tags))
        for kind in ("instance", "volume")
    ]
