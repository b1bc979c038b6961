"""The platform on AWS: VMs for what must keep state, EKS for what is elastic, from the same plan as everywhere."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.targets import Platform
from infra.targets.aws.artifacts import ARTIFACTS, PACKAGES, Artifacts, ArtifactsArgs, bucket_arn, bucket_name, in_json
from infra.targets.aws.audit import Audit, AuditArgs
from infra.targets.aws.automation import Jobs, JobsArgs
from infra.targets.aws.backup import Backup, BackupArgs, class_of_pods
from infra.targets.aws.cluster import AUTOSCALER, Cluster, ClusterArgs
from infra.targets.aws.config import AwsConfig, Nat, load_config
from infra.targets.aws.configuration import Convergence, ConvergenceArgs, inventory
from infra.targets.aws.firewall import ENDPOINTS, Firewall, FirewallArgs
from infra.targets.aws.golden_image import GoldenImages, GoldenImagesArgs, debian_image, root_images
from infra.targets.aws.ingress import Ingress, IngressArgs
from infra.targets.aws.keys import Keys, KeysArgs
from infra.targets.aws.machine import Bundle
from infra.targets.aws.network import Network, NetworkArgs
from infra.targets.aws.observability import BUILDS, COMMANDS, Observability, ObservabilityArgs
from infra.targets.aws.packages import Packages, PackagesArgs
from infra.targets.aws.patching import Patching, PatchingArgs
from infra.targets.aws.public import public_workloads
from infra.targets.aws.site import Site
from infra.targets.aws.vm_tier import VmTier, VmTierArgs, own_inventory
from infra.targets.aws.workloads import described

CHECKOUT = Path(__file__).parents[3]


class AwsTarget:
    """Provision a plan in one account and region."""

    def __init__(self, config: pulumi.Config) -> None:
        self._stack = config

    def deploy(self, plan: Plan) -> Platform:
        # All that a program makes lives until it ends. Python's collector would walk over it again and again, as long
        # as all the rest takes, and find next to nothing (benchmarks/README.md).
        gc.disable()
        config = load_config(self._stack, plan)
        site = Site(plan.spec.name, pulumi.get_stack(), config.account, config.region, config.owner)
        return AwsPlatform(site, config, plan).platform


SERVICES = (
    *("acm", "autoscaling", "backup", "budgets", "cloudtrail", "cloudwatch", "codebuild", "ec2", "ecr", "eks", "elbv2"),
    *(
        "events",
        "guardduty",
        "iam",
        "imagebuilder",
        "kms",
        "logs",
        "route53",
        "s3",
        "secretsmanager",
        "sns",
        "ssm",
        "sts",
    ),
)


def provider_of(site: Site, config: AwsConfig) -> aws.Provider:
    """The one provider: of this account and no other, with the tags that everything gets."""
    emulator: dict[str, Any] = {}
    if config.emulator:
        urls = {service: config.emulator.services.get(service, config.emulator.url) for service in SERVICES}
        emulator = {
            "endpoints": [aws.ProviderEndpointArgs(**urls)],
            "s3_use_path_style": True,
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            # Unset, a call that an emulator does not know is tried for minutes; 1 fails on a dropped connection.
            "max_retries": 3,
        }
    return aws.Provider(
        "aws",
        region=site.region,
        allowed_account_ids=[site.account],
        default_tags=aws.ProviderDefaultTagsArgs(tags=site.tags),
        **emulator,
    )


class AwsPlatform(pulumi.ComponentResource):
    """All of it: every resource is a child, and so inherits the one provider."""

    platform: Platform

    def __init__(self, site: Site, config: AwsConfig, plan: Plan) -> None:
        provider = provider_of(site, config)
        super().__init__("hybrid:aws:Platform", site.platform, None, pulumi.ResourceOptions(providers=[provider]))
        child = pulumi.ResourceOptions(parent=self)
        lookup = pulumi.InvokeOutputOptions(parent=self)
        # A vault under a compliance lock outlives the stack, whatever is protected; and is worth nothing without keys.
        keep_keys = config.protect or config.backup.lock == "compliance"
        keys = Keys("keys", KeysArgs(site, config.protect, keep_keys), child)
        watch = Observability("observability", ObservabilityArgs(site, config.observability, keys.logs.arn), child)
        own_buckets = [bucket_arn(site, purpose) for purpose in (ARTIFACTS, PACKAGES)]
        network = Network(
            "network",
            NetworkArgs(
                site,
                config.network,
                config.zones,
                keys.logs.arn,
                own_buckets,
            ),
            child,
        )
        public = config.ingress.certificate_arn is not None
        firewall = Firewall(
            "firewall",
            FirewallArgs(
                site,
                plan,
                network.vpc_id,
                network.s3_prefix_list_id,
                config.ingress.client_cidrs or (config.network.cidr,),
                443 if public else 80,
                config.network.nat is not Nat.NONE,
            ),
            child,
        )
        endpoints = network.open_endpoints(firewall.group_id(ENDPOINTS))
        packages = Packages("packages", PackagesArgs(site, network.gateways["s3"].id), child)
        artifacts = Artifacts(
            "artifacts", ArtifactsArgs(site, plan, CHECKOUT, keys.artifacts.arn, config.protect, [AUTOSCALER]), child
        )
        machines = plan.on(Runtime.VM)
        jobs = Jobs(
            "jobs",
            JobsArgs(
                site=site,
                plan=plan,
                network=network,
                firewall=firewall,
                artifacts=artifacts,
                packages=packages,
                log_group=watch.log_groups[BUILDS],
                key_arn=keys.artifacts.arn,
                data_key_arn=keys.data.arn,
                cluster_key_arn=keys.cluster.arn,
                alarm_topic_arn=watch.topic_arn,
                os_releases=list(config.vm_tier.images),
                debian_mirror=config.vm_tier.debian_mirror,
                autoscaler_image=config.cluster.autoscaler_image,
                endpoints=endpoints,
            ),
            child,
        )
        digest, uploaded = artifacts.upload_bundle(after=jobs.listening)
        bucket = bucket_name(site, ARTIFACTS)
        bundle = Bundle(bucket, digest, packages.url, artifacts.readable, [*uploaded, *endpoints])
        parents = {os: debian_image(pin.debian, lookup) for os, pin in config.vm_tier.images.items()}
        GoldenImages(
            "images",
            GoldenImagesArgs(
                site=site,
                pins=config.vm_tier.images,
                parents=parents,
                network=network,
                firewall=firewall,
                bundle=bundle,
                key_arn=keys.data.arn,
                log_key_arn=keys.logs.arn,
                log_days=config.observability.log_days,
                alarm_topic_arn=watch.topic_arn,
            ),
            child,
        )
        tier = VmTier(
            "vm",
            VmTierArgs(
                site=site,
                plan=plan,
                config=config.vm_tier,
                zones=config.zones,
                network=network,
                firewall=firewall,
                images=root_images(config.vm_tier.images, parents),
                key_arn=keys.data.arn,
                bundle=bundle,
                alarm_topic_arn=watch.topic_arn,
                protect=config.protect,
            ),
            child,
        )

        def inventory_of(workloads: list[str], peers: Iterable[str] = ()) -> pulumi.Output[dict[str, Any]]:
            known = {m.host: m.private_ip for name in {*workloads, *peers} for m in tier.members.get(name, ())}
            return pulumi.Output.all(**known).apply(
                lambda found: inventory(
                    site, plan, config.zones, config.network.cidr, tier.members, found, bucket, workloads
                ).to_ansible()
            )

        hosts = inventory_of(list(machines))
        # Each workload's members read an inventory of their own: they learn of nobody but their callers, and a new
        # address makes those machines converge that it concerns.
        inventories = {
            name: artifacts.upload_json(own_inventory(name), inventory_of([name], plan.callers_of(name)))
            for name in machines
        }
        convergence = Convergence(
            "convergence",
            ConvergenceArgs(site, plan, tier.members, bucket, packages.url, digest, inventories),
            child,
        )
        Patching(
            "patching",
            PatchingArgs(
                site,
                plan,
                config.patching,
                tier.members,
                convergence.documents,
                watch.log_groups[COMMANDS],
                watch.topic_arn,
            ),
            child,
        )
        classes = [w.checklist.compliance for w in machines.values() if w.resources.disk]
        of_pods = class_of_pods(plan)
        classes += [of_pods] if of_pods else []
        Backup(
            "backup",
            BackupArgs(site, config.backup, classes, keys.backup.arn, watch.topic_arn, config.protect),
            child,
        )
        cluster = Cluster(
            "cluster",
            ClusterArgs(
                site=site,
                plan=plan,
                config=config.cluster,
                network=network,
                firewall=firewall,
                key_arn=keys.cluster.arn,
                log_key_arn=keys.logs.arn,
                log_days=config.observability.log_days,
                operator_role_arn=jobs.operator_role.arn,
                packages_url=packages.url,
                endpoints=endpoints,
                protect=config.protect,
            ),
            child,
        )
        written = [
            artifacts.upload_json("inventory", hosts),
            artifacts.upload_plan(described(plan), after=jobs.listening),
        ]
        jobs.cluster_is_ready(
            [digest, cluster.cluster.endpoint, hosts.apply(in_json)], after=[*cluster.ready, *written]
        )
        url: pulumi.Input[str] = ""
        if public_workloads(plan):
            url = Ingress(
                "ingress",
                IngressArgs(
                    site=site,
                    plan=plan,
                    config=config.ingress,
                    network=network,
                    firewall=firewall,
                    members=tier.members,
                    groups=cluster.groups,
                    alarm_topic_arn=watch.topic_arn,
                    log_days=config.observability.log_days,
                    protect=config.protect,
                ),
                child,
            ).url
        Audit(
            "audit",
            AuditArgs(
                site=site,
                config=config.audit,
                log_key_arn=keys.logs.arn,
                watched_buckets=own_buckets,
                log_days=config.observability.log_days,
                alarm_topic_arn=watch.topic_arn,
                protect=config.protect,
            ),
            child,
        )
        facts = {
            member.host: {
                "address": member.private_ip,
                "workload": workload,
                "zone": member.zone,
                "group": member.group_name,
                "volume": member.volume.id if member.volume else None,
            }
            for workload, group in tier.members.items()
            for member in group
        }
        self.platform = Platform(url, hosts, cluster.kubeconfig, facts)
        self.register_outputs({})
