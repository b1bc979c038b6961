"""The elastic tier: EKS, private, with a pool of nodes for each wall that the plan asks for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.spec import Isolation, Workload
from infra.targets.aws import keys
from infra.targets.aws.backup import TAG, class_of_pods
from infra.targets.aws.boot import node_user_data
from infra.targets.aws.cidr import Tier
from infra.targets.aws.config import ClusterConfig, PoolConfig
from infra.targets.aws.firewall import CONTROL_PLANE, Firewall, pool_group, pools
from infra.targets.aws.iam import ServiceRole, Statement, allow, service_role, trust, trust_pods
from infra.targets.aws.machine import imds_v2_only, root_device, tagged_at_launch
from infra.targets.aws.network import Network
from infra.targets.aws.site import Site

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
NODE_ROOT_GIB = 50
LABEL, CAPACITY = "hybrid.platform/runtime", "hybrid.platform/capacity"
AUTOSCALER, SYSTEM = "cluster-autoscaler", "kube-system"
CNI_ACCOUNT, CSI_ACCOUNT = "aws-node", "ebs-csi-controller-sa"  # the service accounts of the add-ons
# Pods go out under their own addresses. By default the plugin puts the node's in their place, and any port from 1024
# on, of which the network ACLs let no answers in below Linux's own range.
NETWORK_PLUGIN = {"enableNetworkPolicy": "true", "env": {"AWS_VPC_K8S_CNI_EXTERNALSNAT": "true"}}
CNI_POLICY, CSI_POLICY = "AmazonEKS_CNI_Policy", "service-role/AmazonEBSCSIDriverPolicy"


@dataclass(frozen=True)
class Pool:
    """A managed node group, and why it is one of its own."""

    name: str
    runtime: Runtime
    config: PoolConfig
    spot: bool = False


def tolerates_interruption(workload: Workload) -> bool:
    """Spot takes a node with two minutes' notice: only what has a second copy and no state can shrug at that."""
    return not workload.stateful and workload.replicas >= 2 and workload.checklist.isolation is Isolation.LOW


def pools_of(plan: Plan, config: ClusterConfig) -> list[Pool]:
    settings = {Runtime.CONTAINER: config.container, Runtime.MICROVM: config.microvm}
    found = [Pool(runtime.value, runtime, settings[runtime]) for runtime in pools(plan)]
    if config.spot and any(map(tolerates_interruption, plan.on(Runtime.CONTAINER).values())):
        found.append(Pool("spot", Runtime.CONTAINER, config.spot_pool, spot=True))
    return found


@dataclass(frozen=True)
class ClusterArgs:
    """
    Attributes:
        operator_role_arn: the role of the job that applies what runs inside the cluster.
        packages_url: the package snapshot, from which sandboxed nodes take gVisor.
    """

    site: Site
    plan: Plan
    config: ClusterConfig
    network: Network
    firewall: Firewall
    key_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_days: int
    operator_role_arn: pulumi.Input[str]
    packages_url: str
    endpoints: Sequence[pulumi.Resource]
    protect: bool


class Cluster(pulumi.ComponentResource):
    """Control plane, add-ons and nodes, in the only order in which nodes come up ready:
    cluster, network and identity add-ons, nodes, then what runs on nodes.

    Attributes:
        kubeconfig: an administrator's, that asks the AWS CLI for a token; it holds no secret of its own.
        groups: the Auto Scaling groups of nodes, by the runtime that they run.
        ready: what must exist before anything is applied inside the cluster.
    """

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Cluster", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.cluster = self._control_plane()
        self._administrators()
        versions = args.config.addons
        cni = self._role("vpc-cni", CNI_ACCOUNT, CNI_POLICY)
        csi = self._role(
            "ebs-csi",
            CSI_ACCOUNT,
            CSI_POLICY,
            [
                allow(list(keys.USE), [args.key_arn]),
                allow(["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"], [args.key_arn], keys.FOR_AWS_ONLY),
            ],
        )
        before_nodes: list[pulumi.Resource] = [
            self._addon("eks-pod-identity-agent", versions.eks_pod_identity_agent),
            self._addon("kube-proxy", versions.kube_proxy),
            self._addon("vpc-cni", versions.vpc_cni, (CNI_ACCOUNT, cni), NETWORK_PLUGIN),
        ]
        node_role = self._node_role()
        self.pools = pools_of(args.plan, args.config)
        self.node_groups = {pool.name: self._node_group(pool, node_role, before_nodes) for pool in self.pools}
        nodes = list(self.node_groups.values())
        self.ready: list[pulumi.Resource] = [
            self._addon("coredns", versions.coredns, after=nodes),
            self._addon(
                "aws-ebs-csi-driver",
                versions.aws_ebs_csi_driver,
                (CSI_ACCOUNT, csi),
                {"controller": {"extraVolumeTags": self._volume_tags()}},
                after=nodes,
            ),
            self._addon("metrics-server", versions.metrics_server, after=nodes),
        ]
        self._autoscaling()
        self.groups = {
            runtime: [self._group_behind(pool) for pool in self.pools if pool.runtime is runtime]
            for runtime in {pool.runtime for pool in self.pools}
        }
        self.kubeconfig = pulumi.Output.all(
            self.cluster.name, self.cluster.endpoint, self.cluster.certificate_authority.data
        ).apply(lambda known: kubeconfig(known[0], known[1], known[2], args.site.region))
        self.register_outputs({"kubeconfig": self.kubeconfig})

    def _group_behind(self, pool: Pool) -> pulumi.Output[str]:
        return self.node_groups[pool.name].resources.apply(lambda found: found[0].autoscaling_groups[0].name)

    def _control_plane(self) -> aws.eks.Cluster:
        args, name = self._args, self._args.site.prefix
        # EKS would make this group itself: without retention, and without a key.
        logs = aws.cloudwatch.LogGroup(
            f"{self._name}-control-plane",
            name=f"/aws/eks/{name}/cluster",
            retention_in_days=args.log_days,
            kms_key_id=args.log_key_arn,
            opts=self._child,
        )
        role = service_role(
            f"{self._name}-control-plane",
            trust("eks.amazonaws.com", args.site.account),
            [allow(["kms:Encrypt", "kms:Decrypt", "kms:ListGrants", "kms:DescribeKey"], [args.key_arn])],
            [args.site.managed_policy("AmazonEKSClusterPolicy")],
            opts=self._child,
        )
        return aws.eks.Cluster(
            self._name,
            name=name,
            version=args.config.version,
            role_arn=role.arn,
            vpc_config=aws.eks.ClusterVpcConfigArgs(
                subnet_ids=args.network.subnet_ids(Tier.PRIVATE),
                security_group_ids=[args.firewall.group_id(CONTROL_PLANE)],
                endpoint_private_access=True,
                endpoint_public_access=bool(args.config.public_access_cidrs),
                public_access_cidrs=list(args.config.public_access_cidrs) or None,
            ),
            access_config=aws.eks.ClusterAccessConfigArgs(
                authentication_mode="API",
                # Who runs `pulumi up` is an administrator only where the configuration says so.
                bootstrap_cluster_creator_admin_permissions=False,
            ),
            bootstrap_self_managed_addons=False,
            encryption_config=aws.eks.ClusterEncryptionConfigArgs(
                provider=aws.eks.ClusterEncryptionConfigProviderArgs(key_arn=args.key_arn), resources=["secrets"]
            ),
            enabled_cluster_log_types=list(LOG_TYPES),
            # No silent drift into extended support, which costs six times as much; docs/aws.md tells how to upgrade.
            upgrade_policy=aws.eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
            zonal_shift_config=aws.eks.ClusterZonalShiftConfigArgs(enabled=True),
            deletion_protection=args.protect,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[logs, *args.endpoints], protect=args.protect),
        )

    def _volume_tags(self) -> dict[str, str]:
        """On the volumes of pods, which the provider's default tags do not reach: whose they are, and their backup."""
        kept = class_of_pods(self._args.plan)
        return {**self._args.site.tags, **({TAG: kept.value} if kept else {})}

    def _administrators(self) -> None:
        roles: dict[str, pulumi.Input[str]] = {"operator": self._args.operator_role_arn}
        # With its path, and a word before it: neither two roles of one name nor one called operator are one.
        roles |= {f"admin-{arn.split(':role/')[1].replace('/', '-')}": arn for arn in self._args.config.admin_roles}
        for label, arn in roles.items():
            entry = aws.eks.AccessEntry(
                f"{self._name}-{label}", cluster_name=self.cluster.name, principal_arn=arn, opts=self._child
            )
            aws.eks.AccessPolicyAssociation(
                f"{self._name}-{label}",
                cluster_name=self.cluster.name,
                principal_arn=arn,
                policy_arn=self._args.site.arn(
                    "eks", "cluster-access-policy/AmazonEKSClusterAdminPolicy", region="", account="aws"
                ),
                access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                opts=pulumi.ResourceOptions(parent=self, depends_on=[entry]),
            )

    def _role(
        self, label: str, service_account: str, managed: str | None = None, statements: Sequence[Statement] = ()
    ) -> ServiceRole:
        """A role for the pods of one service account of the system."""
        site = self._args.site
        trusted = trust_pods(site.arn("eks", f"cluster/{site.prefix}"), SYSTEM, service_account)
        policies = [site.managed_policy(managed)] if managed else []
        return service_role(f"{self._name}-{label}", trusted, statements, policies, opts=self._child)

    def _addon(
        self,
        addon: str,
        version: str,
        identity: tuple[str, ServiceRole] | None = None,
        configuration: Mapping[str, Any] | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> aws.eks.Addon:
        return aws.eks.Addon(
            f"{self._name}-{addon}",
            cluster_name=self.cluster.name,
            addon_name=addon,
            addon_version=version,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            configuration_values=json.dumps(configuration) if configuration else None,
            pod_identity_associations=[
                aws.eks.AddonPodIdentityAssociationArgs(service_account=account, role_arn=role.arn)
                for account, role in ([identity] if identity else [])
            ],
            tags={"Name": f"{self._args.site.prefix}-{addon}"},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )

    def _node_role(self) -> ServiceRole:
        """The minimal policy is made for EKS Auto Mode; a node of a managed group asks EC2 for its own name before it
        joins, and for what its type can do."""
        managed = ("AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly")
        return service_role(
            f"{self._name}-nodes",
            trust("ec2.amazonaws.com"),
            [allow(["ec2:DescribeInstances", "ec2:DescribeInstanceTypes"], "*")],
            managed=[self._args.site.managed_policy(name) for name in managed],
            opts=self._child,
        )

    def _node_group(self, pool: Pool, role: ServiceRole, after: Sequence[pulumi.Resource]) -> aws.eks.NodeGroup:
        args = self._args
        name = f"{args.site.prefix}-{pool.name}"
        tags = {
            "Name": name,
            "hybrid:workload": "cluster",
            "hybrid:runtime": pool.runtime.value,
        }
        template = aws.ec2.LaunchTemplate(
            f"{self._name}-{pool.name}",
            update_default_version=True,
            vpc_security_group_ids=args.firewall.group_ids(pool_group(pool.runtime)),
            block_device_mappings=[root_device(args.key_arn, NODE_ROOT_GIB)],
            metadata_options=imds_v2_only(),
            monitoring=aws.ec2.LaunchTemplateMonitoringArgs(enabled=True),
            user_data=node_user_data(args.packages_url) if pool.runtime is Runtime.MICROVM else None,
            tag_specifications=tagged_at_launch({**args.site.tags, **tags}),
            tags=tags,
            opts=self._child,
        )
        taints = []
        if pool.runtime is Runtime.MICROVM:
            taints = [aws.eks.NodeGroupTaintArgs(key=LABEL, value=pool.runtime.value, effect="NO_SCHEDULE")]
        elif pool.spot:
            # Soft: what has a second copy overflows to spot, when on-demand nodes are full.
            taints = [aws.eks.NodeGroupTaintArgs(key=CAPACITY, value="spot", effect="PREFER_NO_SCHEDULE")]
        return aws.eks.NodeGroup(
            f"{self._name}-{pool.name}",
            cluster_name=self.cluster.name,
            node_group_name=self._group_name(pool),
            node_role_arn=role.arn,
            subnet_ids=args.network.subnet_ids(Tier.PRIVATE),
            ami_type="AL2023_x86_64_STANDARD",
            version=args.config.version,
            release_version=args.config.node_release,
            instance_types=list(pool.config.instance_types),
            capacity_type="SPOT" if pool.spot else "ON_DEMAND",
            launch_template=aws.eks.NodeGroupLaunchTemplateArgs(
                id=template.id, version=template.latest_version.apply(str)
            ),
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(
                min_size=pool.config.min_nodes, desired_size=pool.config.min_nodes, max_size=pool.config.max_nodes
            ),
            update_config=aws.eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
            node_repair_config=aws.eks.NodeGroupNodeRepairConfigArgs(enabled=True),
            labels={LABEL: pool.runtime.value, CAPACITY: "spot" if pool.spot else "on-demand"},
            taints=taints,
            tags=tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                # Nodes without the network plugin never become ready; and on the way down they go before it, so that
                # it takes its interfaces along and no security group is held by an orphan.
                depends_on=[*after, *args.endpoints],
                # From the first scaling on this number is the autoscaler's.
                ignore_changes=["scalingConfig.desiredSize"],
            ),
        )

    def _group_name(self, pool: Pool) -> str:
        """It changes with what EKS cannot change in place. The new group can then come before the old one goes, which
        two of one name cannot."""
        fixed = [*pool.config.instance_types, *self._args.network.subnets[Tier.PRIVATE]]
        return f"{pool.name}-{hashlib.sha256(' '.join(fixed).encode()).hexdigest()[:8]}"

    def _autoscaling(self) -> None:
        args = self._args
        owned = {"StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{args.site.prefix}": "owned"}}
        role = self._role(
            "autoscaler",
            AUTOSCALER,
            statements=[
                allow(
                    [
                        "autoscaling:DescribeAutoScalingGroups",
                        "autoscaling:DescribeAutoScalingInstances",
                        "autoscaling:DescribeLaunchConfigurations",
                        "autoscaling:DescribeScalingActivities",
                        "autoscaling:DescribeTags",
                        "ec2:DescribeImages",
                        "ec2:DescribeInstanceTypes",
                        "ec2:DescribeLaunchTemplateVersions",
                        "ec2:GetInstanceTypesFromInstanceRequirements",
                    ],
                    "*",
                ),
                allow(
                    ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
                    [args.site.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/eks-*")],
                    owned,
                ),
                allow(["eks:DescribeNodegroup"], [args.site.arn("eks", f"nodegroup/{args.site.prefix}/*")]),
            ],
        )
        aws.eks.PodIdentityAssociation(
            f"{self._name}-autoscaler",
            cluster_name=self.cluster.name,
            namespace=SYSTEM,
            service_account=AUTOSCALER,
            role_arn=role.arn,
            opts=self._child,
        )


def kubeconfig(name: str, endpoint: str, certificate: str, region: str) -> str:
    """A kubeconfig in JSON, which is YAML; the token comes from the caller's own AWS identity."""
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": name, "cluster": {"server": endpoint, "certificate-authority-data": certificate}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "users": [
                {
                    "name": name,
                    "user": {
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1",
                            "command": "aws",
                            "args": ["eks", "get-token", "--cluster-name", name, "--region", region],
                            "interactiveMode": "Never",
                        }
                    },
                }
            ],
        },
        indent=2,
    )
