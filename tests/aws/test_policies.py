"""The policy pack: every stack passes every rule, and every rule bites.

A mutation takes a recorded stack that passes, spoils one thing, and must be caught by the rule that it is listed under.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from policy.resources import UNKNOWN, Deployment, Resource, json_of
from policy.rules import RULES
from policy.rules.iam import documents, lint

CHECKS = {rule.name: rule for rule in RULES}
Mutation = Callable[[Deployment], Deployment]


def violations(rule: str, deployment: Deployment) -> list[str]:
    return [found.message for found in CHECKS[rule].check(deployment)]


# Ways to spoil a deployment. Each fails if there is nothing to spoil, or a test would pass by itself.


def change(kind: str, edit: Callable[[dict[str, Any]], None], name: str | None = None) -> Mutation:
    """Edit the properties of the first resource of a type (or of the one named)."""

    def mutate(deployment: Deployment) -> Deployment:
        victim = deployment.one(kind, name) if name else deployment.of(kind)[0]
        props = copy.deepcopy(dict(victim.props))
        edit(props)
        assert props != victim.props, "the mutation changes nothing"
        return with_resources(deployment, [replace(r, props=props) if r is victim else r for r in deployment])

    return mutate


def put(kind: str, path: str, value: Any, name: str | None = None) -> Mutation:
    """Set one property, by a path like `metadataOptions.httpTokens` or `blockDeviceMappings.0.ebs`."""

    def edit(props: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        target: Any = props
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
        target[int(last) if isinstance(target, list) else last] = value

    return change(kind, edit, name)


def drop(kind: str, name: str | None = None) -> Mutation:
    """Take away all resources of a type (or the one named)."""

    def mutate(deployment: Deployment) -> Deployment:
        victims = [deployment.one(kind, name)] if name else deployment.of(kind)
        assert victims
        return with_resources(deployment, [r for r in deployment if r not in victims])

    return mutate


def add(kind: str, after: tuple[str, str] | None = None, **props: Any) -> Mutation:
    """Add a resource that refers to another one (`after`: its type and name), if to any."""

    def mutate(deployment: Deployment) -> Deployment:
        waits = frozenset([deployment.one(*after).urn]) if after else frozenset()
        new = Resource(kind, "new", f"urn:{kind}::new", props, provider="aws", depends_on=waits)
        return with_resources(deployment, [*deployment, new])

    return mutate


def unprotect(kind: str) -> Mutation:
    return lambda deployment: with_resources(
        deployment, [replace(r, protect=False) if r.is_a(kind) else r for r in deployment]
    )


def with_resources(deployment: Deployment, resources: list[Resource]) -> Deployment:
    return Deployment(resources, deployment.stack, deployment.plan)


def statement(**parts: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **parts}]})


INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ALL = "0.0.0.0/0"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
KMS = "arn:aws:kms:eu-central-1:111122223333"
OURSELVES = {"AWS": "arn:aws:iam::444455556666:root"}
STRANGER = {"AWS": "arn:aws:iam::999988887777:root"}
BUILDS = {"Service": "codebuild.amazonaws.com"}
BACKUP = {"Service": "backup.amazonaws.com"}
OF_DOCUMENT = ("Version", "Statement")
OUR_DISK = {"encrypted": True, "kmsKeyId": UNKNOWN}
OVER_TLS = {"Bool": {"aws:SecureTransport": "true"}}
DENY_STRANGER = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:x", "Principal": {"AWS": "999988887777"}}
OURS = {"StringEquals": {"aws:SourceAccount": "111122223333"}}
INSTANCE = "aws:ec2/instance:Instance"
MACHINE = "pulumi-python:dynamic/local:Machine"
ALARM, IN_SERVICE = "cloudwatch/metricAlarm", "vm-ledger-0-GroupInServiceInstances"
TEMPLATE, GROUP = "ec2/launchTemplate", "autoscaling/group"
FRONT, ISOLATED = ("ec2/securityGroup", "firewall-balancer"), ("ec2/routeTable", "network-isolated")
PUBLIC = ("ec2/routeTable", "network-public")
EVERYTHING_6 = {
    "ruleNo": 900,
    "protocol": "-1",
    "fromPort": 0,
    "toPort": 65535,
    "ipv6CidrBlock": "::/0",
    "action": "allow",
}

MUTATIONS: dict[str, list[Mutation]] = {
    "disks-are-encrypted-with-our-key": [
        put("ebs/volume", "encrypted", False),
        put("ebs/volume", "kmsKeyId", None),
        put(TEMPLATE, "blockDeviceMappings.0.ebs.encrypted", "false"),
        put(TEMPLATE, "blockDeviceMappings", []),
        put("imagebuilder/imageRecipe", "blockDeviceMappings.0.ebs.kmsKeyId", None),
        put("ebs/volume", "kmsKeyId", "arn:aws:kms:eu-central-1:111122223333:alias/aws/ebs"),
        put("eks/nodeGroup", "launchTemplate", None),
        add(INSTANCE, ami="ami-1"),
        add(INSTANCE, ami="ami-1", rootBlockDevice=OUR_DISK, ebsBlockDevices=[{"deviceName": "/dev/sdf"}]),
    ],
    "services-encrypt-with-our-key": [
        put("secretsmanager/secret", "kmsKeyId", None),
        put("sns/topic", "kmsMasterKeyId", None),
        put("backup/vault", "kmsKeyArn", None),
        put("cloudtrail/trail", "kmsKeyId", None),
        put("codebuild/project", "encryptionKey", None),
        put("ecr/repository", "encryptionConfigurations", []),
        put("eks/cluster", "encryptionConfig", None),
        put("sns/topic", "kmsMasterKeyId", "alias/aws/sns"),
    ],
    "logs-are-encrypted-and-expire": [
        put("cloudwatch/logGroup", "kmsKeyId", None),
        put("cloudwatch/logGroup", "retentionInDays", 0),
    ],
    "keys-rotate": [
        put("kms/key", "enableKeyRotation", False),
        put("kms/key", "deletionWindowInDays", 1),
        put("kms/key", "rotationPeriodInDays", 2560),
    ],
    "buckets-are-private-encrypted-and-versioned": [
        put("s3/bucketPublicAccessBlock", "blockPublicPolicy", False),
        drop("s3/bucketServerSideEncryptionConfiguration", "artifacts"),
        put("s3/bucketVersioning", "versioningConfiguration.status", "Suspended"),
        put("s3/bucketPolicy", "policy", statement(Action="s3:GetObject", Resource="arn:x", Principal="*")),
        put("s3/bucketPolicy", "policy", statement(Action="s3:*", Principal="*", Condition=OVER_TLS)),
        drop("s3/bucketPolicy"),
    ],
    "nothing-is-open-to-the-world": [
        add(INGRESS, securityGroupId="x", cidrIpv4="0.0.0.0/0", fromPort=443, toPort=443, ipProtocol="tcp"),
        add(INGRESS, securityGroupId="x", cidrIpv6="::/0", fromPort=443, toPort=443, ipProtocol="tcp"),
        add(EGRESS, securityGroupId="x", cidrIpv4="0.0.0.0/0", ipProtocol="-1"),
        add(EGRESS, securityGroupId="x", cidrIpv4="0.0.0.0/0", fromPort=443, toPort=443, ipProtocol="tcp"),
        add(INGRESS, cidrIpv4="0.0.0.0/1", securityGroupId=UNKNOWN, fromPort=443, toPort=443, ipProtocol="tcp"),
        add(INGRESS, FRONT, cidrIpv6="2000::/3", securityGroupId="x", fromPort=80, toPort=80, ipProtocol="tcp"),
        add(INGRESS, FRONT, prefixListId="pl-1", securityGroupId="x", fromPort=443, toPort=443, ipProtocol="tcp"),
        add(EGRESS, FRONT, prefixListId="pl-1", securityGroupId="x", fromPort=443, toPort=443, ipProtocol="tcp"),
        put("lb/loadBalancer", "internal", True),
    ],
    "nothing-goes-by-a-name-that-no-rule-reads": [
        add("aws:ec2/securityGroupRule:SecurityGroupRule", type="ingress", cidrBlocks=["0.0.0.0/0"]),
        add("aws:ec2/networkAclRule:NetworkAclRule", cidrBlock="0.0.0.0/0"),
        add("aws:alb/listener:Listener", protocol="HTTP"),
        add("aws:iam/userPolicy:UserPolicy", policy="{}"),
        add("aws:s3/bucketV2:BucketV2", bucket="open"),
    ],
    "access-lists-stand-behind-the-groups": [
        drop("ec2/networkAcl", "network-isolated"),
        drop("ec2/defaultNetworkAcl"),
        put("ec2/defaultNetworkAcl", "ingress", [{"ruleNo": 1, "protocol": "-1", "cidrBlock": ALL, "action": "allow"}]),
        put("ec2/networkAcl", "ingress.1.action", "allow", "network-public"),
        put("ec2/networkAcl", "ingress.1.fromPort", 22, "network-isolated"),
        change("ec2/networkAcl", lambda p: p["ingress"].append({**EVERYTHING_6, "protocol": "6", "fromPort": 22})),
        change("ec2/networkAcl", lambda p: p["ingress"].append(EVERYTHING_6)),
    ],
    "rules-are-resources-of-their-own": [
        put("ec2/securityGroup", "egress", [{"protocol": "-1", "cidrBlocks": ["0.0.0.0/0"]}]),
        drop("ec2/defaultSecurityGroup"),
    ],
    "no-machine-has-a-public-address": [
        put("ec2/subnet", "mapPublicIpOnLaunch", True),
        put(TEMPLATE, "networkInterfaces.0.associatePublicIpAddress", "true", "vm-ledger-0"),
        add("aws:ec2/eip:Eip", instance="i-1"),
        add(INSTANCE, associatePublicIpAddress=True),
    ],
    "nobody-logs-in-by-network": [
        add(INGRESS, securityGroupId="x", cidrIpv4="10.0.0.0/8", fromPort=20, toPort=25, ipProtocol="tcp"),
        put(TEMPLATE, "keyName", "admin"),
        put("eks/nodeGroup", "remoteAccess", {"ec2SshKey": "admin"}),
        put("imagebuilder/infrastructureConfiguration", "keyPair", "admin"),
    ],
    "the-api-server-is-private": [
        put("eks/cluster", "vpcConfig.endpointPublicAccess", True),
        change("eks/cluster", lambda p: p["vpcConfig"].pop("endpointPublicAccess")),
        put("eks/cluster", "vpcConfig.endpointPrivateAccess", False),
    ],
    "what-clients-send-is-encrypted": [
        put("lb/listener", "protocol", "HTTP"),
        put("lb/listener", "sslPolicy", "ELBSecurityPolicy-2016-08"),
        put("lb/listener", "sslPolicy", "ELBSecurityPolicy-TLS13-1-0-2021-06"),
    ],
    "the-vm-tier-has-no-way-out": [
        add("aws:ec2/route:Route", ISOLATED, routeTableId=UNKNOWN, destinationCidrBlock="0.0.0.0/0"),
        add("aws:ec2/route:Route", ISOLATED, destinationPrefixListId="pl-1", natGatewayId=UNKNOWN),
        put("ec2/routeTable", "routes", [{"ipv6CidrBlock": "::/0", "egressOnlyGatewayId": "x"}], "network-isolated"),
    ],
    "no-security-group-talks-to-everything": [
        put("vpc/securityGroupIngressRule", "toPort", 65535),
        put("vpc/securityGroupEgressRule", "ipProtocol", "-1"),
        change("vpc/securityGroupIngressRule", lambda p: [p.pop("fromPort"), p.pop("toPort")]),
    ],
    "metadata-needs-a-session": [
        put(TEMPLATE, "metadataOptions.httpTokens", "optional"),
        put(TEMPLATE, "metadataOptions.httpPutResponseHopLimit", 2),
        put("imagebuilder/infrastructureConfiguration", "instanceMetadataOptions", None),
        put("eks/nodeGroup", "launchTemplate", None),
        add(INSTANCE, ami="ami-1"),
    ],
    "images-are-pinned": [
        put(TEMPLATE, "imageId", "resolve:ssm:/aws/service/debian/release/13/latest/amd64"),
        put("eks/nodeGroup", "releaseVersion", None),
        put("eks/addon", "addonVersion", None),
        put("codebuild/project", "environment.image", "debian:latest"),
        put("imagebuilder/imageRecipe", "parentImage", "arn:aws:imagebuilder:eu-central-1:aws:image/debian/x.x.x"),
        put("eks/cluster", "version", None),
    ],
    "repositories-are-immutable": [
        put("ecr/repository", "imageTagMutability", "MUTABLE"),
        put("ecr/repository", "imageScanningConfiguration.scanOnPush", False),
    ],
    "user-data-holds-no-secret": [
        put(TEMPLATE, "userData", base64.b64encode(b"#!/bin/sh\nPASSWORD=hunter22 start\n").decode(), "vm-ledger-0"),
        add(INSTANCE, ami="ami-1", userData="#!/bin/sh\nAPI_KEY=hunter22 start\n"),
        add(INSTANCE, ami="ami-1", userDataBase64=base64.b64encode(b"secret=hunter22").decode()),
    ],
    "everything-is-tagged": [
        put(TEMPLATE, "tagSpecifications.1.tags", {}),
        put(GROUP, "tags", []),
        put("pulumi:providers:aws", "defaultTags", None),
        put("pulumi:providers:aws", "allowedAccountIds", None),
    ],
    "the-provider-is-named": [lambda d: with_resources(d, [replace(r, provider="") for r in d])],
    "nodes-are-repaired-and-updated-gently": [
        put("eks/nodeGroup", "nodeRepairConfig.enabled", False),
        put("eks/nodeGroup", "updateConfig", {}),
        put("eks/nodeGroup", "updateConfig", {"maxUnavailablePercentage": 100}),
    ],
    "what-keeps-state-is-backed-up": [
        put("ebs/volume", "tags", {"Name": "forgotten"}),
        drop("backup/selection"),
        put("backup/plan", "rules.0.lifecycle.deleteAfter", 1),
    ],
    "stateful-workloads-have-a-disk-of-their-own": [drop("ebs/volume")],
    "a-lost-member-pages-somebody": [
        drop("cloudwatch/metricAlarm", "vm-ledger-0-GroupInServiceInstances"),
        put("cloudwatch/metricAlarm", "alarmActions", []),
        put("cloudwatch/metricAlarm", "actionsEnabled", False),
        drop("sns/topicSubscription"),
    ],
    "alarms-go-off-when-something-is-wrong": [
        put(ALARM, "threshold", 0, IN_SERVICE),
        put(ALARM, "threshold", 2, IN_SERVICE),
        put(ALARM, "comparisonOperator", "GreaterThanThreshold", IN_SERVICE),
        put(ALARM, "treatMissingData", "notBreaching", IN_SERVICE),
        put(ALARM, "treatMissingData", None, IN_SERVICE),
        put(ALARM, "evaluationPeriods", 60, IN_SERVICE),
        put(ALARM, "metricName", "GroupTotalInstances", IN_SERVICE),
        put(ALARM, "namespace", "AWS/EC2", IN_SERVICE),
        put(ALARM, "threshold", 0, "vm-ledger-0-StatusCheckFailed"),
        put(ALARM, "threshold", 2, "vm-ledger-0-StatusCheckFailed"),
        put(ALARM, "threshold", 6, "patching-ledger-0-missed"),
        put(ALARM, "threshold", 8, "patching-ledger-0-missed"),
        put(ALARM, "threshold", 100, "audit-root"),
        put(ALARM, "threshold", 0, "ingress-web-unhealthy"),
        put(ALARM, "threshold", None, "ingress-web-unhealthy"),
    ],
    "members-are-replaced-behind-a-health-gate": [
        put(GROUP, "maxSize", 2),
        put(GROUP, "initialLifecycleHooks.0.defaultResult", "CONTINUE"),
        put(GROUP, "initialLifecycleHooks", []),
    ],
    "production-is-protected-from-deletion": [
        put("eks/cluster", "deletionProtection", False),
        put("lb/loadBalancer", "enableDeletionProtection", False),
        put("ebs/volume", "finalSnapshot", False),
        unprotect("ebs/volume"),
        unprotect("kms/key"),
        drop("backup/vaultLockConfiguration"),
        put("ecr/repository", "forceDelete", True),
        put("backup/vault", "forceDestroy", True),
        put("secretsmanager/secret", "recoveryWindowInDays", 0),
    ],
    "everything-that-happens-is-on-record": [
        drop("ec2/flowLog"),
        put("ec2/flowLog", "trafficType", "REJECT"),
        add("aws:ec2/vpc:Vpc", cidrBlock="10.0.0.0/16"),
        put("eks/cluster", "enabledClusterLogTypes", ["api"]),
        put("eks/cluster", "accessConfig.authenticationMode", "CONFIG_MAP"),
        put("cloudtrail/trail", "enableLogFileValidation", False),
        put("cloudtrail/trail", "enableLogging", False),
        put("cloudtrail/trail", "includeGlobalServiceEvents", False),
    ],
    "windows-and-groups-for-every-machine": [
        drop("ssm/patchGroup", "patching-ledger"),
        drop("ssm/maintenanceWindowTarget", "patching-rest-ledger"),
        put("ssm/maintenanceWindowTask", "maxConcurrency", "100%"),
        put("ssm/maintenanceWindow", "enabled", False),
    ],
    "workloads-run-where-they-were-placed": [
        put("ec2/securityGroup", "tags.hybrid:runtime", "container", "firewall-vm-ledger"),
        put("ec2/securityGroup", "tags.hybrid:workload", "stranger", "firewall-vm-ledger"),
        drop(GROUP, "vm-tariffs-0"),
        add("aws:autoscaling/group:Group", tags={"hybrid:workload": "web", "hybrid:runtime": "container"}),
        add(MACHINE, workload="web"),
        add(MACHINE, workload="ledger"),
        add(MACHINE, workload="stranger"),
    ],
    "every-wall-has-its-nodes": [
        drop("eks/nodeGroup", "cluster-microvm"),
        put("eks/nodeGroup", "taints", [], "cluster-microvm"),
        add("aws:eks/nodeGroup:NodeGroup", labels={"hybrid.platform/runtime": "microvm"}),
    ],
    "instance-types-are-ordinary": [
        put(TEMPLATE, "instanceType", "p5.48xlarge", "vm-ledger-0"),
        put("eks/nodeGroup", "instanceTypes", ["m7i.large", "m7i.48xlarge"]),
        put("imagebuilder/infrastructureConfiguration", "instanceTypes", ["p5.48xlarge"]),
    ],
    "spending-is-watched": [drop("budgets/budget"), put("budgets/budget", "notifications", [])],
    "gateways-are-counted": [
        lambda d: with_resources(
            d, [*d, *(Resource("aws:ec2/natGateway:NatGateway", f"n{i}", f"u{i}", {}) for i in range(4))]
        )
    ],
    "iam-documents-grant-little": [
        put("iam/rolePolicy", "policy", statement(Action="s3:*", Resource="arn:aws:s3:::x")),
        put("iam/rolePolicy", "policy", statement(Action="*", Resource="*")),
        put("iam/rolePolicy", "policy", statement(Action="s3:GetObject", Resource="*")),
        put("iam/rolePolicy", "policy", statement(NotAction="iam:*", Resource="arn:aws:s3:::x")),
        put("iam/rolePolicy", "policy", "{"),
        put("iam/rolePolicy", "policy", json.dumps({"Version": "2008-10-17", "Statement": []})),
        put("kms/key", "policy", statement(Action="kms:Decrypt", Resource="*", Principal="*")),
        put("kms/key", "policy", None),
        put("s3/bucketPolicy", "policy", statement(Action="s3:GetObject", Resource="*", Principal={"Service": "x"})),
        put("iam/role", "assumeRolePolicy", statement(Action="sts:AssumeRole", Principal={"AWS": "*"})),
        put("iam/role", "assumeRolePolicy", statement(Action="sts:AssumeRole", Principal=BUILDS)),
        put("kms/key", "policy", statement(Action="kms:Decrypt", Resource="*", Principal=BACKUP)),
        put("ec2/vpcEndpoint", "policy", statement(Action="*", Resource="*", Principal="*")),
        put("sns/topicPolicy", "policy", statement(Action="sns:Publish", Resource="arn:x", Principal="*")),
        put("kms/key", "policy", statement(Action="kms:*", Resource="*", Principal=STRANGER)),
        put("iam/role", "assumeRolePolicy", statement(Action="sts:AssumeRole", Principal={"AWS": ["999988887777"]})),
        put("sns/topicPolicy", "policy", statement(Action="sns:*", Resource="arn:x", Principal=BACKUP, Condition=OURS)),
    ],
    "no-role-is-an-administrator": [
        put("iam/rolePolicyAttachment", "policyArn", "arn:aws:iam::aws:policy/AdministratorAccess"),
        put("iam/role", "managedPolicyArns", ["arn:aws:iam::aws:policy/ReadOnlyAccess"]),
        put("iam/rolePolicyAttachment", "policyArn", "arn:aws:iam::aws:policy/job-function/SystemAdministrator"),
    ],
}


# What looks like a violation and is none.
HONEST: dict[str, list[Mutation]] = {
    "alarms-go-off-when-something-is-wrong": [
        put(ALARM, "threshold", 0.5, IN_SERVICE),
        change(ALARM, lambda p: p.update(comparisonOperator="LessThanOrEqualToThreshold", threshold=0), IN_SERVICE),
        put(ALARM, "evaluationPeriods", 1, IN_SERVICE),
        put(ALARM, "metricName", UNKNOWN, IN_SERVICE),
    ],
    "iam-documents-grant-little": [
        put("kms/key", "policy", statement(Action="kms:*", Resource="*", Principal=OURSELVES)),
        put("s3/bucketPolicy", "policy", json.dumps({"Version": "2012-10-17", "Statement": [DENY_STRANGER]})),
    ],
    "every-wall-has-its-nodes": [put("eks/nodeGroup", "taints.0.effect", "NO_EXECUTE", "cluster-microvm")],
    "a-lost-member-pages-somebody": [
        put("cloudwatch/metricAlarm", "dimensions", UNKNOWN, "vm-ledger-0-GroupInServiceInstances"),
    ],
    "disks-are-encrypted-with-our-key": [add(INSTANCE, ami="ami-1", rootBlockDevice=OUR_DISK)],
    "buckets-are-private-encrypted-and-versioned": [
        change("s3/bucketPolicy", lambda p: p.update(policy=p["policy"].replace('"*"', '{"AWS": "*"}', 1))),
    ],
    "user-data-holds-no-secret": [
        add(INSTANCE, ami="ami-1", userData=UNKNOWN),
        add(INSTANCE, ami="ami-1", userData="#!/bin/sh\nPASSWORD=$(aws secretsmanager get-secret-value) start\n"),
    ],
    "nothing-is-open-to-the-world": [
        add(INGRESS, FRONT, cidrIpv4=ALL, securityGroupId=UNKNOWN, fromPort=443, toPort=443, ipProtocol="tcp"),
        add(
            EGRESS, ("ec2/vpcEndpoint", "network-s3"), prefixListId=UNKNOWN, fromPort=443, toPort=443, ipProtocol="tcp"
        ),
    ],
    "access-lists-stand-behind-the-groups": [
        change("ec2/networkAcl", lambda p: p["ingress"].append({**EVERYTHING_6, "action": "deny"})),
        change("ec2/networkAcl", lambda p: p["ingress"].append({**EVERYTHING_6, "protocol": "17"})),
    ],
    "the-vm-tier-has-no-way-out": [
        add("aws:ec2/route:Route", ISOLATED, destinationCidrBlock="10.9.0.0/16", vpcPeeringConnectionId="pcx-1"),
        add("aws:ec2/route:Route", PUBLIC, destinationCidrBlock=ALL, gatewayId="igw-1"),
    ],
    "what-clients-send-is-encrypted": [put("lb/listener", "sslPolicy", "ELBSecurityPolicy-TLS13-1-3-2021-06")],
    "nobody-logs-in-by-network": [add(INGRESS, fromPort=UNKNOWN, toPort=UNKNOWN, ipProtocol="tcp")],
}


def cases(by_rule: dict[str, list[Mutation]]) -> list[Any]:
    return [
        pytest.param(rule, mutation, id=f"{rule}-{number}")
        for rule, mutations in by_rule.items()
        for number, mutation in enumerate(mutations)
    ]


@pytest.mark.parametrize("rule", CHECKS)
def test_every_stack_passes(rule, deployed):
    assert violations(rule, deployed) == []


def test_every_rule_has_a_mutation():
    assert set(MUTATIONS) == set(CHECKS)


@pytest.mark.parametrize(("rule", "mutation"), cases(MUTATIONS))
def test_every_mutation_is_caught(rule, mutation, prod):
    assert violations(rule, prod) == []
    found = violations(rule, mutation(prod))
    assert found, f"{rule} did not notice"
    assert all(len(message) > 10 for message in found)


@pytest.mark.parametrize(("rule", "mutation"), cases(HONEST))
def test_what_is_honest_passes(rule, mutation, prod):
    assert violations(rule, mutation(prod)) == []


def test_rules_say_what_holds_and_why():
    for rule in RULES:
        assert len(rule.description) > 40 and rule.description.endswith(".")
    assert len(CHECKS) == len(RULES), "two rules have one name"


def test_development_may_be_deleted(dev):
    """The rule is about production; a stack that is torn down every evening is not protected."""
    assert not dev.is_production and violations("production-is-protected-from-deletion", dev) == []


@pytest.mark.parametrize("rule", CHECKS)
def test_rules_accept_what_a_preview_cannot_know(rule, prod):
    """In a preview ids, ARNs and whole documents are unknown; that is no violation, and no crash."""
    by_reference = {"arn", "Arn", "Id", "Ids", "policy", "userData", "Groups", "subnets", "buildspec"}

    def blank(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: blank(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [blank(v, key) for v in value]
        refers = any(key.endswith(end) for end in by_reference)
        return UNKNOWN if refers and isinstance(value, str) and not value.startswith("ami-") else value

    preview = with_resources(prod, [replace(r, props=blank(dict(r.props))) for r in prod])
    assert violations(rule, preview) == []


def test_the_linter_reads_every_document_of_the_platform(deployed):
    seen = {(kind, resource.type) for resource, kind, _ in documents(deployed)}
    assert {kind for kind, _ in seen} == {"identity", "resource", "endpoint", "trust"}
    policies = deployed.of("iam/rolePolicy", "kms/key", "s3/bucketPolicy", "sns/topicPolicy", "iam/role")
    assert len(list(documents(deployed))) >= len(policies)
    # Whole, with the ARNs of what they are about: a preview does not know those, and `up` only at its end.
    for resource, _, key in documents(deployed):
        assert json_of(resource.props[key])["Statement"] and "Output" not in resource.props[key], resource.name


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"Effect": "Allow", "Action": "ec2:DescribeVolumes", "Resource": "*"}, None),
        ({"Effect": "Allow", "Action": "ec2:AttachVolume", "Resource": "*"}, "every resource there is"),
        ({"Effect": "Allow", "Action": ["s3:Get*"], "Resource": "arn:aws:s3:::x/*"}, None),
        ({"Effect": "Allow", "NotResource": "arn:x", "Action": "s3:GetObject"}, "NotResource"),
        ({"Effect": "Deny", "Action": "*", "Resource": "*"}, None),
        ({"Effect": "Deny", "NotAction": "iam:*", "Resource": "*"}, None),
        ({"Effect": "Allow", "Action": ["s3:GetObject", "*"], "Resource": "arn:aws:s3:::x/*"}, "is everything"),
        ({"Effect": "Allow", "Action": "s3:**", "Resource": "arn:aws:s3:::x/*"}, "is everything"),
        ({"Effect": "Allow", "Action": "s3:GetObject", "Resource": ["arn:aws:s3:::*"]}, "every resource there is"),
        ({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*/*"}, "every resource there is"),
        ({"Effect": "Allow", "Action": "kms:Decrypt", "Resource": f"{KMS}:key/*"}, "every resource there is"),
        ({"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::1:role/*"}, "every resource there is"),
        ({"Effect": "Allow", "Action": "kms:Decrypt", "Resource": f"{KMS}:key/1-2"}, None),
    ],
)
def test_the_linter_on_single_statements(document, told):
    found = list(lint({"Version": "2012-10-17", "Statement": document}, kind="identity"))
    assert (found == []) if told is None else any(told in fault for fault in found)


@pytest.mark.parametrize(
    ("condition", "bound"),
    [
        ({"StringEquals": {"aws:SourceAccount": "1"}}, True),
        ({"StringEquals": {"AWS:SourceAccount": "1"}}, True),  # names of conditions have no case
        ({"ArnLike": {"aws:SourceArn": ["arn:aws:s3:::x"]}}, True),
        ({"StringNotEquals": {"aws:SourceAccount": "1"}}, False),
        ({"StringEqualsIfExists": {"aws:SourceAccount": "1"}}, False),
        ({"StringLike": {"aws:SourceAccount": "*"}}, False),
        ({"ArnLike": {"aws:SourceArn": ["arn:aws:s3:::x", "*"]}}, False),
        ({"ForAllValues:StringEquals": {"aws:SourceAccount": "1"}}, False),
        ({"Null": {"aws:SourceAccount": "false"}}, False),
        ({"StringEquals": {"aws:RequestedRegion": "aws:SourceAccount"}}, False),
    ],
)
def test_a_condition_holds_a_stranger_only_if_it_must_be_met(condition, bound):
    for principal in (BACKUP, "*", {"AWS": ["*"]}, {"Service": "ec2.amazonaws.com", "AWS": "*"}):
        said = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "arn:x", "Principal": principal}
        text = {"Version": "2012-10-17", "Statement": {**said, "Condition": condition}}
        assert (list(lint(text, kind="resource")) == []) is bound, principal


@pytest.mark.parametrize(
    ("kind", "changed", "told"),
    [
        ("resource", {}, []),
        ("resource", {"Version": "2008-10-17"}, ["is not of version 2012-10-17, so that its variables are text"]),
        ("resource", {"Statement": []}, ["has no statement"]),
        ("resource", {"Resource": "*"}, ["is about every resource there is"]),
        ("resource", {"Principal": None}, ["names no principal"]),
        ("trust", {"Principal": None}, ["names no principal"]),
        ("identity", {"Principal": None}, []),
    ],
)
def test_the_linter_on_whole_documents(kind, changed, told):
    said = {"Effect": "Allow", "Action": "sns:Publish", "Resource": "arn:x", "Principal": BACKUP, "Condition": OURS}
    said = {key: value for key, value in (said | changed).items() if value is not None and key not in OF_DOCUMENT}
    document = {"Version": "2012-10-17", "Statement": said} | {k: changed[k] for k in OF_DOCUMENT if k in changed}
    assert list(lint(document, kind=kind)) == told


def test_a_service_that_may_assume_a_role_without_a_word_may_do_nothing_else_so():
    said = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}
    role = {"Version": "2012-10-17", "Statement": {**said, "Action": "sts:AssumeRole"}}
    bucket = {"Version": "2012-10-17", "Statement": {**said, "Action": "s3:PutObject", "Resource": "arn:aws:s3:::x/*"}}
    assert list(lint(role, kind="trust")) == []
    assert list(lint(bucket, kind="resource")) == ["lets cloudtrail.amazonaws.com act for anybody: it names no account"]


def test_an_endpoint_may_let_everybody_pass_to_named_buckets():
    for resource, passes in (("arn:aws:s3:::x/*", True), ("arn:aws:s3:::*", False), ("*", False)):
        said = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": resource, "Principal": "*"}
        text = {"Version": "2012-10-17", "Statement": said}
        assert (list(lint(text, kind="endpoint")) == []) is passes
        assert list(lint(text, kind="resource")), "a bucket that everybody reads"


def test_the_local_stack_is_held_to_the_decisions_too(plan):
    """The same rules read the machines of the local target by the workload that each one names."""
    local = [
        Resource(MACHINE, host, f"urn::{host}", {"workload": workload})
        for host, workload in (("ledger-0", "ledger"), ("tariffs-0", "tariffs"), ("cluster-0", "cluster"))
    ]
    for rule in CHECKS:
        assert violations(rule, Deployment(local, "local", plan)) == []
    astray = Deployment([*local, Resource(MACHINE, "web-0", "urn::web-0", {"workload": "web"})], "local", plan)
    assert violations("workloads-run-where-they-were-placed", astray) == [
        "web-0: is a machine for web; it was decided container"
    ]
    missing = Deployment(local[1:], "local", plan)
    assert violations("workloads-run-where-they-were-placed", missing) == [
        "ledger has 0 machines; platform.yaml asks for 1"
    ]
