"""The golden image: what a root is made from now, and the pipeline that builds the next candidate.

A build makes a candidate and nothing else. Promotion is a change of the stack's pin (`vm_tier.images.<os>.golden`),
reviewed like any other; only that replaces roots.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.spec.models import OsRelease
from infra.targets.aws.boot import script, user_data
from infra.targets.aws.cidr import Tier
from infra.targets.aws.config import ImageConfig
from infra.targets.aws.events import event, page
from infra.targets.aws.firewall import BUILDER, Firewall
from infra.targets.aws.iam import allow, service_role, trust
from infra.targets.aws.machine import ROOT_GIB, Bundle, RootImage
from infra.targets.aws.network import Network
from infra.targets.aws.site import Site
from infra.targets.aws.vm_tier import ssm_agent_statements

DEBIAN_ACCOUNT = "136693071363"
WEEKLY = "cron(0 2 ? * SUN *)"
LIFETIME = {"DEPRECATE": 60, "DISABLE": 90, "DELETE": 180}  # days
COMPONENT_LIMIT = 16000  # characters of a component's document
KEPT = 3  # images that are never deleted, however old
PROMOTED = "hybrid:promoted"  # tag of what members start from


def debian_image(name: str, opts: pulumi.InvokeOutputOptions) -> pulumi.Output[str]:
    """The id of one official Debian AMI in this region. Its full name is the pin: it means one image for ever."""
    return aws.ec2.get_ami_output(
        owners=[DEBIAN_ACCOUNT],
        most_recent=False,
        include_deprecated=True,  # a public image is deprecated after two years; the pin means it all the same
        filters=[
            aws.ec2.GetAmiFilterArgs(name="name", values=[name]),
            aws.ec2.GetAmiFilterArgs(name="architecture", values=["x86_64"]),
        ],
        opts=opts,
    ).id


def root_images(
    pins: Mapping[OsRelease, ImageConfig], parents: Mapping[OsRelease, pulumi.Output[str]]
) -> dict[OsRelease, RootImage]:
    """The promoted golden image of each OS release; plain Debian until there is one."""
    return {
        os: RootImage(pin.golden, pin.golden, golden=True)
        if pin.golden
        else RootImage(parents[os], pin.debian, golden=False)
        for os, pin in pins.items()
    }


@dataclass(frozen=True)
class GoldenImagesArgs:
    """
    Attributes:
        pins: what the stack's configuration says of each OS release.
        parents: the official Debian AMI of each OS release.
    """

    site: Site
    pins: Mapping[OsRelease, ImageConfig]
    parents: Mapping[OsRelease, pulumi.Output[str]]
    network: Network
    firewall: Firewall
    bundle: Bundle
    key_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_days: int
    alarm_topic_arn: pulumi.Input[str]


class GoldenImages(pulumi.ComponentResource):
    """A pipeline an OS release: base, roles of `playbooks/golden_image.yml`, hygiene tests on a second boot,
    encrypted AMI, its id in a versioned parameter; and a lifecycle that retires old images.

    Attributes:
        candidates: the parameter with the newest candidate's AMI id, by OS release.
    """

    def __init__(self, name: str, args: GoldenImagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:GoldenImages", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        # The role of the service may write below these two names, and nowhere else.
        self.candidates = {os: f"/imagebuilder/{args.site.prefix}/{os}/candidate" for os in args.parents}
        self._logs = aws.cloudwatch.LogGroup(
            f"{name}-builds",
            name=f"/aws/imagebuilder/{args.site.prefix}",
            retention_in_days=args.log_days,
            kms_key_id=args.log_key_arn,
            opts=self._child,
        )
        builder = self._builder()
        recipes = [self._pipeline(os, parent, builder) for os, parent in args.parents.items()]
        self._lifecycle(recipes)
        self._keep_promoted()
        page(
            f"{name}-failed",
            "A build of a golden image failed",
            event("aws.imagebuilder", "EC2 Image Builder Image State Change", state={"status": ["FAILED"]}),
            args.alarm_topic_arn,
            self._child,
        )
        self.register_outputs({"candidates": self.candidates})

    def _builder(self) -> aws.imagebuilder.InfrastructureConfiguration:
        """Where builds run: in the isolated tier, like the members for which they build."""
        args = self._args
        role = service_role(
            f"{self._name}-builder",
            trust("ec2.amazonaws.com"),
            [
                *ssm_agent_statements(),
                *args.bundle.readable,
                allow(["ssm:GetParameter"], [args.site.arn("ssm", f"parameter{args.site.path}/bundle")]),
            ],
            [args.site.managed_policy("EC2InstanceProfileForImageBuilder")],
            opts=self._child,
        )
        profile = aws.iam.InstanceProfile(f"{self._name}-builder", role=role.name, opts=self._child)
        subnet = next(iter(args.network.subnets[Tier.ISOLATED].values()))
        return aws.imagebuilder.InfrastructureConfiguration(
            f"{self._name}-builder",
            name=f"{args.site.prefix}-builder",
            instance_profile_name=profile.name,
            instance_types=["t3.medium", "t3a.medium"],
            subnet_id=subnet.id,
            security_group_ids=args.firewall.group_ids(BUILDER),
            instance_metadata_options=aws.imagebuilder.InfrastructureConfigurationInstanceMetadataOptionsArgs(
                http_tokens="required", http_put_response_hop_limit=1
            ),
            terminate_instance_on_failure=True,
            resource_tags={**args.site.tags, "Name": f"{args.site.prefix}-builder"},
            opts=self._child,
        )

    def _pipeline(
        self, os: OsRelease, parent: pulumi.Output[str], builder: aws.imagebuilder.InfrastructureConfiguration
    ) -> aws.imagebuilder.ImageRecipe:
        args, label = self._args, f"{self._name}-{os}"
        name = f"{args.site.prefix}-{os}"
        known = {
            "region": args.site.region,
            "path": args.site.path,
            "bucket": args.bundle.bucket,
            "packages": args.bundle.packages_url,
            "name": name,
            "release": os,
            "lifetime": str(LIFETIME["DEPRECATE"]),
            "member": "",
        }
        build, test = (
            self._component(f"{label}-{phase}", phase, file, known)
            for phase, file in (("build", "image.sh"), ("test", "hygiene.sh"))
        )
        agent = user_data("agent.sh", known)
        recipe = aws.imagebuilder.ImageRecipe(
            label,
            name=name,
            version=pulumi.Output.all(build.arn, test.arn, parent, agent).apply(
                lambda parts: version_of(json.dumps(parts))
            ),
            parent_image=parent,
            user_data_base64=agent,
            components=[
                aws.imagebuilder.ImageRecipeComponentArgs(component_arn=component.arn) for component in (build, test)
            ],
            block_device_mappings=[
                aws.imagebuilder.ImageRecipeBlockDeviceMappingArgs(
                    device_name="/dev/xvda",
                    ebs=aws.imagebuilder.ImageRecipeBlockDeviceMappingEbsArgs(
                        volume_size=ROOT_GIB,
                        volume_type="gp3",
                        encrypted="true",
                        kms_key_id=args.key_arn,
                        delete_on_termination="true",
                    ),
                )
            ],
            systems_manager_agent=aws.imagebuilder.ImageRecipeSystemsManagerAgentArgs(uninstall_after_build=False),
            tags={"Name": name},
            opts=self._child,
        )
        distribution = aws.imagebuilder.DistributionConfiguration(
            label,
            name=name,
            distributions=[
                aws.imagebuilder.DistributionConfigurationDistributionArgs(
                    region=args.site.region,
                    ami_distribution_configuration=(
                        aws.imagebuilder.DistributionConfigurationDistributionAmiDistributionConfigurationArgs(
                            name=f"{name}-{{{{ imagebuilder:buildDate }}}}",
                            kms_key_id=args.key_arn,
                            ami_tags={**args.site.tags, "hybrid:image": os, "Name": name},
                        )
                    ),
                    ssm_parameter_configurations=[
                        aws.imagebuilder.DistributionConfigurationDistributionSsmParameterConfigurationArgs(
                            parameter_name=self.candidates[os], data_type="aws:ec2:image"
                        )
                    ],
                )
            ],
            opts=self._child,
        )
        aws.imagebuilder.ImagePipeline(
            label,
            name=name,
            image_recipe_arn=recipe.arn,
            infrastructure_configuration_arn=builder.arn,
            distribution_configuration_arn=distribution.arn,
            enhanced_image_metadata_enabled=True,
            logging_configuration=aws.imagebuilder.ImagePipelineLoggingConfigurationArgs(
                image_log_group_name=self._logs.name, pipeline_log_group_name=self._logs.name
            ),
            image_tests_configuration=aws.imagebuilder.ImagePipelineImageTestsConfigurationArgs(
                image_tests_enabled=True, timeout_minutes=60
            ),
            # Patches arrive with the package snapshot, so a build a week is a new image a week.
            schedule=aws.imagebuilder.ImagePipelineScheduleArgs(
                schedule_expression=WEEKLY, pipeline_execution_start_condition="EXPRESSION_MATCH_ONLY"
            ),
            tags={"Name": name},
            opts=self._child,
        )
        return recipe

    def _component(self, label: str, phase: str, file: str, known: Mapping[str, str]) -> aws.imagebuilder.Component:
        args = self._args
        data = component_document(label, phase, script(file, known))
        return aws.imagebuilder.Component(
            label,
            name=f"{args.site.prefix}-{label}",
            platform="Linux",
            version=version_of(data),
            data=data,
            kms_key_id=args.key_arn,
            opts=self._child,
        )

    def _lifecycle(self, recipes: Sequence[aws.imagebuilder.ImageRecipe]) -> None:
        """Old images are retired by the recipe that made them, whatever its version. A policy can select by tags as
        well, but of Image Builder's own records, which get none from a pipeline; and it takes those with any of them.
        """
        args = self._args
        details = aws.imagebuilder.LifecyclePolicyPolicyDetailArgs
        rules = aws.imagebuilder.LifecyclePolicyPolicyDetailExclusionRulesArgs
        role = service_role(
            f"{self._name}-lifecycle",
            trust("imagebuilder.amazonaws.com"),
            managed=[args.site.managed_policy("service-role/EC2ImageBuilderLifecycleExecutionPolicy")],
            opts=self._child,
        )
        aws.imagebuilder.LifecyclePolicy(
            f"{self._name}-lifecycle",
            name=f"{args.site.prefix}-images",
            execution_role=role.arn,
            resource_type="AMI_IMAGE",
            policy_details=[
                details(
                    action=aws.imagebuilder.LifecyclePolicyPolicyDetailActionArgs(
                        type=action,
                        include_resources=aws.imagebuilder.LifecyclePolicyPolicyDetailActionIncludeResourcesArgs(
                            amis=True, snapshots=action == "DELETE"
                        ),
                    ),
                    filter=aws.imagebuilder.LifecyclePolicyPolicyDetailFilterArgs(
                        type="AGE", value=days, unit="DAYS", retain_at_least=KEPT if action == "DELETE" else None
                    ),
                    # A member runs for months on one image, and its group must be able to launch that one again.
                    exclusion_rules=rules(
                        amis=aws.imagebuilder.LifecyclePolicyPolicyDetailExclusionRulesAmisArgs(
                            is_public=False,  # the provider trips over its own default
                            tag_map={PROMOTED: args.site.prefix},
                        )
                    ),
                )
                for action, days in LIFETIME.items()
            ],
            resource_selection=aws.imagebuilder.LifecyclePolicyResourceSelectionArgs(
                recipes=[
                    aws.imagebuilder.LifecyclePolicyResourceSelectionRecipeArgs(
                        name=recipe.name, semantic_version="x.x.x"
                    )
                    for recipe in recipes
                ]
            ),
            opts=self._child,
        )

    def _keep_promoted(self) -> None:
        """Mark what the pins name, so that the lifecycle leaves it alone for as long as they do."""
        for os, pin in self._args.pins.items():
            if pin.golden:
                aws.ec2.Tag(
                    f"{self._name}-{os}-promoted",
                    resource_id=pin.golden,
                    key=PROMOTED,
                    value=self._args.site.prefix,
                    opts=self._child,
                )


def version_of(content: str) -> str:
    """A version that changes with the content: those of Image Builder cannot be written twice."""
    digest = hashlib.sha256(content.encode()).hexdigest()
    return f"1.{int(digest[:4], 16)}.{int(digest[4:8], 16)}"


def component_document(name: str, phase: str, text: str) -> str:
    """A component's document, in JSON, which is YAML: one script in one phase.

    Raises:
        ValueError: if it is too long.
    """
    step = {"name": "Run", "action": "ExecuteBash", "inputs": {"commands": [text]}}
    found = json.dumps(
        {"name": name, "schemaVersion": 1.0, "phases": [{"name": phase, "steps": [step]}]}, sort_keys=True
    )
    if len(found) > COMPONENT_LIMIT:
        raise ValueError(f"the component {name} has {len(found)} characters; Image Builder takes {COMPONENT_LIMIT}")
    return found
