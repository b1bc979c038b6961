"""Jobs: what has to run somewhere else than on a machine or in the cluster, as CodeBuild projects.

The operator's job stands in the VPC, because the API server has no door outside (docs/aws.md, "Why CodeBuild").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.placement import Plan
from infra.targets.aws.artifacts import BUNDLE, PLAN, Artifacts, digest_of, in_json
from infra.targets.aws.cidr import Tier
from infra.targets.aws.cluster import AUTOSCALER
from infra.targets.aws.events import Pattern, event, page, react, written
from infra.targets.aws.firewall import OPERATOR, Firewall
from infra.targets.aws.iam import ServiceRole, Statement, allow, service_role, trust
from infra.targets.aws.jobs import buildspec
from infra.targets.aws.network import Network
from infra.targets.aws.packages import CODENAMES, GVISOR, PYTHONS, SSM_AGENT, Packages
from infra.targets.aws.site import Site

# The base of the jobs that need Debian's tools: Docker's official image on the public registry of AWS.
DEBIAN = "public.ecr.aws/docker/library/debian@sha256:a29215f6a35e51e22adffa17f89e9d2ef06214e64a2bad10d765c46aea49f11f"
CURATED = "aws/codebuild/standard:7.0"  # with Python and the AWS CLI; CodeBuild needs no network to start it
PACKAGES_JOB, IMAGES_JOB, OPERATOR_JOB = "packages", "images", "operator"
WEEKLY = "cron(0 18 ? * SAT *)"  # before the weekly image builds and the patch windows
DAILY = "rate(1 day)"


@dataclass(frozen=True)
class JobsArgs:
    """
    Attributes:
        os_releases: releases of which the package snapshot is made.
        debian_mirror: where from; None leaves it to the job's own apt.
    """

    site: Site
    plan: Plan
    network: Network
    firewall: Firewall
    artifacts: Artifacts
    packages: Packages
    log_group: aws.cloudwatch.LogGroup
    key_arn: pulumi.Input[str]
    data_key_arn: pulumi.Input[str]
    cluster_key_arn: pulumi.Input[str]
    alarm_topic_arn: pulumi.Input[str]
    os_releases: Sequence[str]
    debian_mirror: str | None
    autoscaler_image: str
    endpoints: Sequence[pulumi.Resource]


class Jobs(pulumi.ComponentResource):
    """Three CodeBuild projects that events start, so that `pulumi up` is all that anybody types:

    - packages: fills the package snapshot; with every new bundle, and weekly.
    - images: builds and mirrors container images, and writes their digests down; with every new bundle, when the plan
      for the cluster is another one, and daily.
    - operator: applies what runs inside the cluster; after every run of images (so that the cluster drifts for a day at
      most, like machines), and when the cluster is new.

    Attributes:
        operator_role: the cluster's administrator.
        listening: what must exist before the first bundle is uploaded, or nobody hears of it.
    """

    def __init__(self, name: str, args: JobsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Jobs", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        site = args.site
        self._bundle = [
            *args.artifacts.readable,
            allow(["ssm:GetParameter", "ssm:GetParametersByPath"], [site.arn("ssm", f"parameter{site.path}/*")]),
        ]
        packages = self._project(
            PACKAGES_JOB,
            DEBIAN,
            {
                "packages_bucket": args.packages.bucket.name,
                "releases": " ".join(CODENAMES[os] for os in args.os_releases),
                "pythons": " ".join(dict.fromkeys([*(PYTHONS[os] for os in args.os_releases), *OPERATOR_PYTHONS])),
                "debian_mirror": args.debian_mirror or "",
                "ssm_agent": SSM_AGENT,
                "gvisor": GVISOR,
            },
            [
                allow(["s3:PutObject", "s3:GetObject"], [pulumi.Output.concat(args.packages.bucket.arn, "/*")]),
                allow(["s3:ListBucket"], [args.packages.bucket.arn]),
            ],
        )
        images = self._project(
            IMAGES_JOB,
            DEBIAN,
            {
                "registry": f"{site.account}.dkr.ecr.{site.region}.amazonaws.com/{site.prefix}",
                "mirrored": f"{AUTOSCALER}={args.autoscaler_image}",
            },
            [args.artifacts.fetching("cluster.json"), *registry_writer(site)],
        )
        operator = self._operator()
        starter = self._starter([packages, images, operator])

        def start(label: str, project: aws.codebuild.Project, **when: Any) -> list[pulumi.Resource]:
            return react(f"{name}-{label}", f"Starts {label}", project.arn, self._child, role_arn=starter.arn, **when)

        # By parameters, and not by the objects that they speak of: a bucket's events begin minutes after they are
        # switched on, and a job could start before the parameter names what has been put up.
        bundle, plan = (f"{site.path}/{what}" for what in (BUNDLE, PLAN))
        self.listening: list[pulumi.Resource] = [
            *start(PACKAGES_JOB, packages, to=written(bundle)),
            *start(f"{PACKAGES_JOB}-weekly", packages, schedule=WEEKLY),
            *start(IMAGES_JOB, images, to=written(bundle, plan)),
            *start(f"{IMAGES_JOB}-daily", images, schedule=DAILY),
            *start(f"{OPERATOR_JOB}-images", operator, to=built(["SUCCEEDED"], f"{site.prefix}-{IMAGES_JOB}")),
            # The cluster is new, or a database has made itself an authority that its callers must know.
            *start(
                f"{OPERATOR_JOB}-cluster",
                operator,
                to=written(f"{site.path}/cluster", {"prefix": f"{site.path}/authorities/"}),
            ),
        ]
        page(
            f"{name}-failed",
            "A job of the platform failed",
            built(["FAILED", "FAULT", "TIMED_OUT"], {"prefix": f"{site.prefix}-"}),
            args.alarm_topic_arn,
            self._child,
        )
        self.register_outputs({})

    def cluster_is_ready(self, state: Sequence[pulumi.Input[str]], after: Sequence[pulumi.Resource]) -> None:
        """Write down what the cluster is now: a change of the parameter starts the operator."""
        aws.ssm.Parameter(
            f"{self._name}-cluster",
            name=f"{self._args.site.path}/cluster",
            type="String",
            value=pulumi.Output.all(*state).apply(lambda known: digest_of(in_json(known).encode())),
            description="Digest of what the operator applies to the cluster",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*after, *self.listening]),
        )

    def _operator(self) -> aws.codebuild.Project:
        args, site = self._args, self._args.site
        through_secrets = {"StringEquals": {"kms:ViaService": f"secretsmanager.{site.region}.amazonaws.com"}}
        subnets = args.network.subnets[Tier.PRIVATE].values()
        project = self._project(
            OPERATOR_JOB,
            CURATED,
            {
                "cluster": site.prefix,
                "packages": args.packages.url,
                "autoscaler": AUTOSCALER,
                "key": args.cluster_key_arn,
            },
            [
                allow(["eks:DescribeCluster"], [site.arn("eks", f"cluster/{site.prefix}")]),
                args.artifacts.fetching("cluster.json", "inventory.json"),
                allow(["secretsmanager:GetSecretValue"], [site.arn("secretsmanager", f"secret:{site.path}/*")]),
                allow(["kms:Decrypt"], [args.data_key_arn], through_secrets),
                *in_vpc(site, [subnet.arn for subnet in subnets]),
            ],
            aws.codebuild.ProjectVpcConfigArgs(
                vpc_id=args.network.vpc_id,
                subnets=[subnet.id for subnet in subnets],
                security_group_ids=args.firewall.group_ids(OPERATOR),
            ),
        )
        return project

    def _project(
        self,
        job: str,
        image: str,
        variables: Mapping[str, pulumi.Input[str]],
        statements: Sequence[Statement],
        vpc: aws.codebuild.ProjectVpcConfigArgs | None = None,
    ) -> aws.codebuild.Project:
        args, label = self._args, f"{self._name}-{job}"
        role = service_role(
            label,
            trust("codebuild.amazonaws.com", args.site.account),
            [
                *self._bundle,
                allow(["logs:CreateLogStream", "logs:PutLogEvents"], [pulumi.Output.concat(args.log_group.arn, ":*")]),
                *statements,
            ],
            opts=self._child,
        )
        if job == OPERATOR_JOB:
            self.operator_role = role
        known = {
            **variables,
            "path": args.site.path,
            "region": args.site.region,
            "bucket": args.artifacts.bucket.name,
        }
        return aws.codebuild.Project(
            label,
            name=f"{args.site.prefix}-{job}",
            service_role=role.arn,
            build_timeout=60,
            # A second start is refused, so that two never write the same thing. EventBridge may try again or drop it;
            # the schedules make good what it drops.
            concurrent_build_limit=1,
            encryption_key=args.key_arn,
            artifacts=aws.codebuild.ProjectArtifactsArgs(type="NO_ARTIFACTS"),
            environment=aws.codebuild.ProjectEnvironmentArgs(
                compute_type="BUILD_GENERAL1_SMALL",
                type="LINUX_CONTAINER",
                image=image,
                image_pull_credentials_type="CODEBUILD",
                privileged_mode=False,
            ),
            source=aws.codebuild.ProjectSourceArgs(
                type="NO_SOURCE",
                buildspec=pulumi.Output.all(**known).apply(lambda found: buildspec(f"{job}.sh", found)),
            ),
            logs_config=aws.codebuild.ProjectLogsConfigArgs(
                cloudwatch_logs=aws.codebuild.ProjectLogsConfigCloudwatchLogsArgs(
                    status="ENABLED", group_name=args.log_group.name, stream_name=job
                )
            ),
            vpc_config=vpc,
            tags={"Name": f"{args.site.prefix}-{job}"},
            # On the way down its interfaces go before the security group that they hold.
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.endpoints if vpc else [])),
        )

    def _starter(self, projects: Sequence[aws.codebuild.Project]) -> ServiceRole:
        return service_role(
            f"{self._name}-starter",
            trust("events.amazonaws.com", self._args.site.account),
            [allow(["codebuild:StartBuild"], [project.arn for project in projects])],
            opts=self._child,
        )


OPERATOR_PYTHONS = ("3.11", "3.12", "3.13")  # what the curated image of CodeBuild may have


def built(statuses: list[str], project: Any) -> Pattern:
    """Builds of a project that end like this."""
    return event(
        "aws.codebuild", "CodeBuild Build State Change", **{"build-status": statuses, "project-name": [project]}
    )


def registry_writer(site: Site) -> list[Statement]:
    """Push to the platform's repositories. By the beginning of their names: a list of all of them would outgrow what a
    policy holds, and make all that waits for this job wait for each of them."""
    return [
        allow(["ecr:GetAuthorizationToken"], "*"),
        allow(
            [
                "ecr:BatchCheckLayerAvailability",
                "ecr:BatchGetImage",
                "ecr:CompleteLayerUpload",
                "ecr:DescribeImages",
                "ecr:GetDownloadUrlForLayer",
                "ecr:InitiateLayerUpload",
                "ecr:PutImage",
                "ecr:UploadLayerPart",
            ],
            [site.arn("ecr", f"repository/{site.prefix}/*")],
        ),
        allow(["ssm:PutParameter"], [site.arn("ssm", f"parameter{site.path}/images/*")]),
    ]


def in_vpc(site: Site, subnet_arns: Sequence[pulumi.Input[str]]) -> list[Statement]:
    """What CodeBuild does to stand in a subnet of ours: it touches no interface in any other, like those of members."""
    here = {"ArnEquals": {"ec2:Subnet": list(subnet_arns)}}
    return [
        allow(
            [
                "ec2:DescribeDhcpOptions",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ],
            "*",
        ),
        allow(
            ["ec2:CreateNetworkInterface"],
            [site.arn("ec2", "network-interface/*"), site.arn("ec2", "security-group/*"), *subnet_arns],
        ),
        allow(["ec2:DeleteNetworkInterface"], [site.arn("ec2", "network-interface/*")], here),
        allow(
            ["ec2:CreateNetworkInterfacePermission"],
            [site.arn("ec2", "network-interface/*")],
            {"StringEquals": {"ec2:AuthorizedService": "codebuild.amazonaws.com"}, **here},
        ),
    ]
