"""The platform on AWS: VMs for what must keep state, EKS for what is elastic, from the same plan as everywhere."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pulumi_aws as aws

from infra.placement import Plan
from infra.targets import Platform
from infra.targets.aws.artifacts import ARTIFACTS, PACKAGES, Artifacts, ArtifactsArgs, bucket_arn
from infra.targets.aws.cluster import AUTOSCALER, Cluster, ClusterArgs
from infra.targets.aws.config import AwsConfig, load_config
from infra.targets.aws.firewall import ENDPOINTS, Firewall, FirewallArgs
from infra.targets.aws.golden_image import root_images
from infra.targets.aws.keys import Keys, KeysArgs
from infra.targets.aws.network import Network, NetworkArgs
from infra.targets.aws.observability import COMMANDS, SESSIONS, Observability, ObservabilityArgs
from infra.targets.aws.packages import Packages, PackagesArgs
from infra.targets.aws.site import Site
from infra.targets.aws.vm_tier import Bundle, VmTier, VmTierArgs

CHECKOUT = Path(__file__).parents[3]


class AwsTarget:
    """Provision a plan in one account and region."""

    def __init__(self, config: pulumi.Config) -> None:
        self._stack = config

    def deploy(self, plan: Plan) -> Platform:
        config = load_config(self._stack, plan)
        site = Site(plan.spec.name, pulumi.get_stack(), config.account, config.region, config.owner)
        return AwsPlatform(site, config, plan).platform


class AwsPlatform(pulumi.ComponentResource):
    """All of it: every resource is a child, and so inherits the one provider."""

    platform: Platform

    def __init__(self, site: Site, config: AwsConfig, plan: Plan) -> None:
        provider = aws.Provider(
            "aws",
            region=site.region,
            allowed_account_ids=[site.account],
            default_tags=aws.ProviderDefaultTagsArgs(tags=site.tags),
        )
        super().__init__("hybrid:aws:Platform", site.platform, None, pulumi.ResourceOptions(providers=[provider]))
        child = pulumi.ResourceOptions(parent=self)
        lookup = pulumi.InvokeOutputOptions(parent=self)
        keys = Keys("keys", KeysArgs(site), child)
        watch = Observability("observability", ObservabilityArgs(site, config.observability, keys.logs.arn), child)
        network = Network(
            "network",
            NetworkArgs(
                site,
                config.network,
                config.zones,
                keys.logs.arn,
                [bucket_arn(site, purpose) for purpose in (ARTIFACTS, PACKAGES)],
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
            ),
            child,
        )
        endpoints = network.open_endpoints(firewall.group_id(ENDPOINTS))
        packages = Packages("packages", PackagesArgs(site, network.gateways["s3"].id), child)
        artifacts = Artifacts(
            "artifacts", ArtifactsArgs(site, plan, CHECKOUT, keys.artifacts.arn, config.protect, [AUTOSCALER]), child
        )
        digest, uploaded = artifacts.upload_bundle()
        members = VmTier(
            "vm",
            VmTierArgs(
                site=site,
                plan=plan,
                config=config.vm_tier,
                zones=config.zones,
                network=network,
                firewall=firewall,
                images=root_images(config.vm_tier.images, lookup),
                key_arn=keys.data.arn,
                log_group_arns=[watch.log_groups[purpose].arn for purpose in (SESSIONS, COMMANDS)],
                bundle=Bundle(artifacts.bucket.name, digest, packages.url, artifacts.readable, [*uploaded, *endpoints]),
                alarm_topic_arn=watch.topic_arn,
                protect=config.protect,
            ),
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
                operator_role_arn=members.roles["ledger"].arn,
                endpoints=endpoints,
                protect=config.protect,
            ),
            child,
        )
        self.platform = Platform("", {}, cluster.kubeconfig, {})
        self.register_outputs({})
