"""AWS's provider has second names for many things. The other rules read one of them; the rest would pass unseen."""

from __future__ import annotations

from collections.abc import Iterator

from policy.resources import Deployment, Violation, rule, violation

# By how a type begins, what says the same and is read.
INSTEAD = {
    "aws:alb/": "aws.lb",
    "aws:applicationloadbalancing/": "aws.lb",
    "aws:elb/": "aws.lb",
    "aws:ec2/amiLaunchPermission:": "an account that builds its own images",
    "aws:ec2/defaultRouteTable:": "aws.ec2.RouteTable",
    "aws:ec2/eipAssociation:": "a load balancer",
    "aws:ec2/fleet:": "aws.ec2.LaunchTemplate and a group",
    "aws:ec2/launchConfiguration:": "aws.ec2.LaunchTemplate",
    "aws:ec2/mainRouteTableAssociation:": "aws.ec2.RouteTableAssociation",
    "aws:ec2/networkAclRule:": "the entries of aws.ec2.NetworkAcl",
    "aws:ec2/securityGroupRule:": "aws.vpc.SecurityGroupIngressRule and its counterpart",
    "aws:ec2/spot": "aws.ec2.LaunchTemplate and a group",
    "aws:ec2/vpcEndpointPolicy:": "the policy of aws.ec2.VpcEndpoint",
    "aws:iam/accessKey:": "a role",
    "aws:iam/groupPolicy": "aws.iam.RolePolicy",
    "aws:iam/policyAttachment:": "aws.iam.RolePolicyAttachment",
    "aws:iam/user": "a role",
    "aws:kms/external": "aws.kms.Key",
    "aws:kms/grant:": "the policy of aws.kms.Key",
    "aws:kms/keyPolicy:": "the policy of aws.kms.Key",
    "aws:kms/replica": "aws.kms.Key",
    "aws:s3/bucketAcl": "aws.s3.BucketPolicy",
    "aws:s3/bucketV2:": "aws.s3.Bucket",
}


@rule
def nothing_goes_by_a_name_that_no_rule_reads(deployment: Deployment) -> Iterator[Violation]:
    """Each thing is written in the one way that the other rules read: a rule of the old kind, a load balancer by its
    other name or the key of a user would pass them all."""
    for resource in deployment.aws():
        for start, instead in INSTEAD.items():
            if resource.type.startswith(start):
                yield violation(resource, f"is of a type that no rule reads; use {instead}")
