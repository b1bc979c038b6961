"""What a security review looks at beside the rules of the pack: who acts for whom, and what outlives what."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from typing import Any

import pytest
from recording import CHECKOUT, deploy

from policy.resources import Deployment, Resource

ACCOUNTS = {"aws-dev": "111122223333", "aws-prod": "444455556666"}


def statements(resource: Resource, key: str = "policy") -> list[dict[str, Any]]:
    return json.loads(resource.props[key])["Statement"]


# Roles


def test_whoever_uses_a_role_waits_for_its_permissions(deployed):
    """Else a service that looks at once is refused now and then, and on the way down a cluster is left without the
    right to take its own network interfaces along."""
    permissions: dict[str, set[str]] = {}
    for permission in deployed.of("iam/rolePolicy", "iam/rolePolicyAttachment"):
        (role,) = (urn for urn in permission.depends_on if "iam/role:Role" in urn)
        permissions.setdefault(role, set()).add(permission.urn)
    roles = {role.urn for role in deployed.of("iam/role")}
    assert set(permissions) == roles, "a role without permissions"
    users = [r for r in deployed.aws() if r.depends_on & roles and r.urn not in set().union(*permissions.values())]
    assert {"eks/cluster", "ec2/flowLog", "codebuild/project", "iam/instanceProfile"} <= {
        user.type.split(":")[1] for user in users
    }
    for user in users:
        for role in user.depends_on & roles:
            assert permissions[role] <= user.depends_on, f"{user.name} may come before the permissions of {role}"


def test_a_role_asks_for_its_account_where_its_service_says_it(deployed, stack):
    """AWS documents the condition for these. Others come without a word about whom they act for, and under a condition
    not at all; a role can be handed to a service from within its own account only."""
    says = {"codebuild", "eks", "events", "vpc-flow-logs"}
    does_not = {"backup", "cloudtrail", "ec2", "imagebuilder", "ssm"}
    trusted = [s for role in deployed.of("iam/role") for s in statements(role, "assumeRolePolicy")]
    services = {s["Principal"]["Service"].removesuffix(".amazonaws.com"): s.get("Condition") for s in trusted}
    assert services.keys() - {"pods.eks"} == says | does_not
    bound = {"StringEquals": {"aws:SourceAccount": ACCOUNTS[stack]}}
    assert all(services[service] == bound for service in says)
    assert all(services[service] is None for service in does_not)


def test_flow_logs_may_do_what_their_delivery_asks_for(deployed):
    found = statements(deployed.one("iam/rolePolicy", "network-flows"))
    asked = {"logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogGroups", "logs:DescribeLogStreams"}
    assert {action for statement in found for action in statement["Action"]} == asked


def test_a_pods_role_is_for_its_service_account_in_this_cluster_alone(deployed):
    (cluster,) = deployed.of("eks/cluster")
    trusted = [s for role in deployed.of("iam/role") for s in statements(role, "assumeRolePolicy")]
    pods = [s["Condition"]["StringEquals"] for s in trusted if s["Principal"]["Service"] == "pods.eks.amazonaws.com"]
    assert {condition["aws:RequestTag/kubernetes-service-account"] for condition in pods} == {
        "aws-node",
        "ebs-csi-controller-sa",
        "cluster-autoscaler",
    }
    for condition in pods:
        assert condition["aws:RequestTag/eks-cluster-arn"].endswith(f":cluster/{cluster.props['name']}")
        assert condition["aws:RequestTag/kubernetes-namespace"] == "kube-system"


def test_machines_act_on_what_is_of_this_platform_only(deployed, plan):
    """Another platform in the same account may have a stack and a workload of the same names."""
    (name,) = {group.tags["hybrid:platform"] for group in deployed.of("autoscaling/group")}
    bound = [
        s
        for policy in deployed.of("iam/rolePolicy")
        for s in statements(policy)
        if "esourceTag/hybrid:" in json.dumps(s.get("Condition", {}))
    ]
    assert len(bound) > len(plan.spec.workloads) / 2
    for statement in bound:
        tags = {key.split("/")[1]: value for key, value in statement["Condition"]["StringEquals"].items()}
        assert tags["hybrid:platform"] == name and "hybrid:stack" in tags
    for association in deployed.of("ssm/association"):
        assert {"tag:hybrid:platform", "tag:hybrid:stack"} <= {t["key"] for t in association.props["targets"]}


def test_a_name_that_begins_like_another_opens_nothing_of_its_own(tmp_path):
    """`ledger` may not pose as `ledger-archive`: not end its launch, nor write the authority that its callers trust."""
    text = (CHECKOUT / "platform.yaml").read_text()
    spec = tmp_path / "platform.yaml"
    spec.write_text(re.sub(r"\btariffs\b(?!$)", "ledger-archive", text, flags=re.M))
    deployed = deploy("aws-dev", lambda config: config["patching"].update(canaries=[]), spec).deployment
    group = deployed.one("autoscaling/group", "vm-ledger-archive-0")
    tags = {f"aws:ResourceTag/{tag['key']}": tag["value"] for tag in group.props["tags"]}
    library = (CHECKOUT / "infra/targets/aws/boot/library.sh").read_text()
    written = re.search(r"parameter=\$HYBRID_PATH/(\S+)", library)[1]
    written = written.replace("$HYBRID_WORKLOAD", "ledger-archive").replace("$HYBRID_MEMBER", "ledger-archive-0")
    theirs = {
        "autoscaling:CompleteLifecycleAction": f":autoScalingGroup:1:autoScalingGroupName/{group.props['name']}",
        "ssm:PutParameter": f":parameter/hybrid/reference-aws-dev/{written}",
    }
    for workload, may in (("ledger-archive", True), ("ledger", False)):
        for action, resource in theirs.items():
            allowed = [
                s
                for s in statements(deployed.one("iam/rolePolicy", f"vm-{workload}"))
                if action in s["Action"]
                and any(
                    fnmatch(f"arn:aws:{action.split(':')[0]}:eu-central-1:111122223333{resource}", r)
                    for r in s["Resource"]
                )
                and s.get("Condition", {}).get("StringEquals", {}).items() <= tags.items()
            ]
            assert bool(allowed) is may, f"{workload}: {action}"


def test_the_operator_touches_no_interface_of_a_member(deployed):
    (delete,) = [
        s
        for s in statements(deployed.one("iam/rolePolicy", "jobs-operator"))
        if "ec2:DeleteNetworkInterface" in s["Action"]
    ]
    allowed = set(delete["Condition"]["ArnEquals"]["ec2:Subnet"])
    assert allowed and all("-private-" in arn for arn in allowed)


# Keys


def test_grants_on_keys_are_for_services_of_aws_only(deployed):
    """Who may make a grant for himself can give away what the key's policy kept from him."""
    granting = [
        s
        for resource in deployed.of("kms/key", "iam/rolePolicy")
        for s in statements(resource)
        if "kms:CreateGrant" in s["Action"]
    ]
    assert granting
    assert all(s["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"} for s in granting)


def test_keys_outlive_the_stack_where_what_they_encrypt_does(recording, stack):
    protected = stack == "aws-prod"
    keys = {key.urn for key in recording.deployment.of("kms/key")}
    assert len(keys) == 5 and recording.retained == (keys if protected else set())


def test_a_vault_under_a_compliance_lock_keeps_its_keys_though_nothing_is_protected():
    def locked(config):
        config["backup"] = {"lock": "compliance"}

    recording = deploy("aws-dev", locked)
    keys = recording.deployment.of("kms/key")
    assert recording.retained == {key.urn for key in keys} and not any(key.protect for key in keys)


def test_volumes_of_pods_have_the_clusters_key(deployed):
    from infra.targets.aws.jobs import HERE

    (cluster,) = deployed.of("eks/cluster")
    key = cluster.props["encryptionConfig"]["provider"]["keyArn"]
    project = deployed.one("codebuild/project", "jobs-operator")
    assert f"HYBRID_KEY={key}\n" in json.loads(project.props["source"]["buildspec"])["phases"]["build"]["commands"][0]
    assert 'kmsKeyId: "{{ volume_key }}"' in (HERE / "storage-class.yaml").read_text()
    assert "volume_key=$HYBRID_KEY" in (HERE / "operator.sh").read_text()
    csi = statements(deployed.one("iam/rolePolicy", "cluster-ebs-csi"))
    assert all(s["Resource"] == [key] for s in csi)


def test_what_is_written_to_a_bucket_finds_its_key_and_its_policy_there(deployed):
    """An object that comes before the bucket's key is encrypted with S3's own, and stays so."""
    settings = ("s3/bucketPolicy", "s3/bucketServerSideEncryptionConfiguration", "s3/bucketVersioning")
    of_bucket: dict[str, set[str]] = {}
    for setting in deployed.of(*settings):
        of_bucket.setdefault(setting.props["bucket"], set()).add(setting.urn)
    (artifacts,) = [b for b in of_bucket if b.endswith("artifacts")]
    for document in deployed.of("s3/bucketObjectv2"):
        assert len(of_bucket[artifacts]) == 3 and of_bucket[artifacts] <= document.depends_on, document.name
    for trail in deployed.of("cloudtrail/trail"):
        (bucket,) = [b for b in of_bucket if b.endswith("trail")]
        assert of_bucket[bucket] <= trail.depends_on


# Paging


def test_every_service_that_pages_may_publish_and_encrypt(deployed, stack):
    """EventBridge names no account on its way to a topic: under a condition its messages are dropped silently. The
    others do, and act for this account only."""
    publish = statements(deployed.one("sns/topicPolicy", "observability-alarms"))
    key = statements(deployed.one("kms/key", "keys-logs"))
    for service, bound in (("events", False), ("cloudwatch", True), ("budgets", True)):
        for document in (publish, key):
            (found,) = [s for s in document if s["Principal"] == {"Service": f"{service}.amazonaws.com"}]
            condition = {"StringEquals": {"aws:SourceAccount": ACCOUNTS[stack]}}
            assert found.get("Condition") == (condition if bound else None), service
    (plain,) = [s for s in publish if s["Effect"] == "Deny"]
    assert plain["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize(
    ("name", "source", "state"),
    [
        ("backup-backup-failed", "aws.backup", ("state", "FAILED")),
        ("backup-restore-failed", "aws.backup", ("status", "FAILED")),
        ("images-failed", "aws.imagebuilder", None),
        ("jobs-failed", "aws.codebuild", ("build-status", "FAILED")),
        ("patching-failed", "aws.ssm", ("status", "FAILED")),
    ],
)
def test_what_fails_by_itself_pages(deployed, name, source, state):
    pattern = json.loads(deployed.one("cloudwatch/eventRule", name).props["eventPattern"])
    assert pattern["source"] == [source]
    assert state is None or state[1] in pattern["detail"][state[0]]
    target = deployed.one("cloudwatch/eventTarget", name).props
    assert target["arn"] == deployed.one("sns/topic", "observability-alarms").props.get("arn", target["arn"])
    assert "alarms" in target["arn"]


# Audit


def test_the_trail_has_everything_managed_and_every_write_to_what_machines_run(prod):
    (trail,) = prod.of("cloudtrail/trail")
    selectors = [
        {f["field"]: f.get("equals") or f.get("startsWiths") for f in s["fieldSelectors"]}
        for s in trail.props["advancedEventSelectors"]
    ]
    assert {"eventCategory": ["Management"]} in selectors
    (data,) = [s for s in selectors if s["eventCategory"] == ["Data"]]
    buckets = {b.props["bucket"] for b in prod.of("s3/bucket")}
    fed = {arn.split(":::")[1].rstrip("/") for arn in data["resources.ARN"]}
    assert fed <= buckets and {name.split("-444455556666")[0].rsplit("-", 1)[1] for name in fed} == {
        "artifacts",
        "packages",
    }


def test_cloudtrail_may_encrypt_what_it_writes(prod):
    """Events of other regions are encrypted in the name of those. And with a key of the bucket CloudTrail would have
    to decrypt, too, which it may not."""
    (trail,) = prod.of("cloudtrail/trail")
    (statement,) = [
        s
        for s in statements(prod.one("kms/key", "keys-logs"))
        if s["Principal"] == {"Service": "cloudtrail.amazonaws.com"} and "kms:GenerateDataKey*" in s["Action"]
    ]
    own = f":trail/{trail.props['name']}"
    assert statement["Condition"]["StringEquals"]["aws:SourceArn"].endswith(own)
    context = statement["Condition"]["StringLike"]["kms:EncryptionContext:aws:cloudtrail:arn"]
    assert context.startswith("arn:aws:cloudtrail:*:") and context.endswith(own)
    (rule,) = prod.one("s3/bucketServerSideEncryptionConfiguration", "audit-trail").props["rules"]
    assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms" and not rule["bucketKeyEnabled"]


def test_root_trail_and_keys_are_watched(prod: Deployment):
    for what, word in (("root", "Root"), ("trail", "StopLogging"), ("keys", "ScheduleKeyDeletion")):
        counted = prod.one("cloudwatch/logMetricFilter", f"audit-{what}").props
        alarm = prod.one("cloudwatch/metricAlarm", f"audit-{what}").props
        assert word in counted["pattern"] and counted["logGroupName"].endswith("/trail")
        assert alarm["metricName"] == counted["metricTransformation"]["name"] and alarm["alarmActions"]


# Network


def test_through_the_s3_gateway_only_this_account_writes(deployed):
    for statement in statements(deployed.one("ec2/vpcEndpoint", "network-s3")):
        assert statement["Resource"] != "*"
        if set(statement["Action"]) != {"s3:GetObject"}:
            assert "aws:PrincipalAccount" in json.dumps(statement["Condition"])


@pytest.mark.parametrize("nat", ["none", "one"])
def test_nat_is_a_way_out_for_containers_and_for_nobody_else(nat, prod):
    def choose(config):
        config["network"]["nat"] = nat

    deployed = deploy("aws-prod", choose).deployment
    out = {
        (rule.props["securityGroupId"], rule.props["fromPort"])
        for rule in deployed.of("vpc/securityGroupEgressRule")
        if rule.props.get("cidrIpv4") == "0.0.0.0/0"
    }
    assert out == (set() if nat == "none" else {("SecurityGroup-firewall-pool-container", 443)})


def test_no_tier_behind_the_public_one_hears_the_internet(deployed):
    """Answers come in, to the ports from which Linux asks; nothing that listens is in that range but node ports, and
    those are behind it."""
    from infra.targets.aws.public import NODE_PORTS

    for tier in ("private", "isolated"):
        acl = deployed.one("ec2/networkAcl", f"network-{tier}").props
        from_outside = [e for e in acl["ingress"] if e["cidrBlock"] == "0.0.0.0/0"]
        assert [(e["protocol"], e["action"]) for e in from_outside] == [("tcp", "allow")]
        assert from_outside[0]["fromPort"] > max(NODE_PORTS)
        assert {(e["fromPort"], e["toPort"]) for e in acl["egress"] if e["cidrBlock"] == "0.0.0.0/0"} == {(443, 443)}
    zones = {s.props["availabilityZone"] for s in deployed.of("ec2/subnet")}
    assert all(len(a.props["subnetIds"]) == len(zones) for a in deployed.of("ec2/networkAcl"))
