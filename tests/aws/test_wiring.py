"""What AWS would take, and what would not work all the same: resources that belong together, and settings that others
rely on."""

from __future__ import annotations

import json
import re

from recording import CHECKOUT, stack_config

from infra.placement import Runtime
from infra.targets.aws.public import node_port

VPC = "Vpc-network"
# Types that AWS puts into the account's default VPC, or nowhere, when nobody says into which.
IN_VPC = (
    *("ec2/securityGroup", "ec2/subnet", "ec2/routeTable", "ec2/internetGateway", "ec2/networkAcl", "ec2/vpcEndpoint"),
    *("ec2/defaultSecurityGroup", "lb/targetGroup", "ec2/flowLog"),
)


def config_of(stack: str) -> dict:
    return stack_config(stack)["hybrid-platform:aws"]


def test_all_stands_in_our_network(deployed):
    for kind in IN_VPC:
        found = deployed.of(kind)
        assert found and all(resource.props.get("vpcId") == VPC for resource in found), kind
    (network,) = deployed.of("ec2/vpc")
    assert network.props["cidrBlock"] == config_of(deployed.stack)["network"]["cidr"]


def test_names_are_resolved_inside_and_nowhere_else(deployed):
    """Endpoints go by AWS's public names only where the VPC resolves them; a zone without a VPC is public."""
    (network,) = deployed.of("ec2/vpc")
    assert network.props["enableDnsSupport"] and network.props["enableDnsHostnames"]
    (zone,) = deployed.of("route53/zone")
    assert zone.props["vpcs"] == [{"vpcId": VPC}]
    assert zone.props["name"] == f"{deployed.plan.spec.name}.internal"
    for record in deployed.of("route53/record"):
        assert record.props["name"].endswith(f".{zone.props['name']}") and record.props["ttl"] <= 60
        assert record.props["zoneId"] == "zone-vm"


def test_the_balancer_asks_each_workload_where_it_answers(deployed, plan):
    """By node port in the cluster, as the operator is told of it; by its own port on a machine."""
    told = {w["name"]: w["node_port"] for w in json.loads(deployed.one("s3/bucketObjectv2", "artifacts-cluster").props[
        "content"])["variables"]["cluster_workloads"]}  # fmt: skip
    for group in deployed.of("lb/targetGroup"):
        name = group.tags["hybrid:workload"]
        on_machine = plan.placement(name).runtime is Runtime.VM
        port = plan.spec.workloads[name].ports[0] if on_machine else node_port(name)
        assert (group.props["targetType"], group.props["port"]) == ("ip" if on_machine else "instance", port)
        assert on_machine or told[name] == port
        assert group.props["protocol"] == "HTTP"
        check = group.props["healthCheck"]
        assert (check["path"], check["matcher"]) == ("/healthz", "200")
        assert check["timeout"] < check["interval"]
        # Gone from the balancer before a spot node or a drained one is, and within half a minute of falling ill.
        assert check["interval"] * check["unhealthyThreshold"] <= 30 and group.props["deregistrationDelay"] <= 30
        manifests = (CHECKOUT / "roles/cluster_workloads/templates/workloads.yml.j2").read_text()
        assert f"'path': '{check['path']}'" in manifests, "kubelets ask for another one"


def test_windows_open_when_and_for_as_long_as_the_stack_says(deployed):
    asked = config_of(deployed.stack)["patching"]["window"]
    for window in deployed.of("ssm/maintenanceWindow"):
        assert window.props["scheduleTimezone"] == asked["timezone"] and window.props["duration"] == asked["hours"]
        assert window.props["allowUnassociatedTargets"] is False and window.props["cutoff"] == 1


def test_a_window_is_for_the_machines_of_its_patch_group(deployed):
    of_groups = {group.tags["PatchGroup"] for group in deployed.of("autoscaling/group")}
    aimed_at = [entry for target in deployed.of("ssm/maintenanceWindowTarget") for entry in target.props["targets"]]
    assert {entry["key"] for entry in aimed_at} == {"tag:PatchGroup"}
    assert {value for entry in aimed_at for value in entry["values"]} == of_groups


def test_entries_of_network_acls_are_in_the_order_in_which_they_hold(deployed):
    """The first that fits decides; and each says all of its range."""
    for acl in deployed.of("ec2/networkAcl"):
        for entries in (acl.props["ingress"], acl.props["egress"]):
            numbers = [entry["ruleNo"] for entry in entries]
            assert numbers == sorted(set(numbers)) and numbers[0] == 100
            assert all(entry["fromPort"] <= entry["toPort"] for entry in entries)
        actions = [entry["action"] for entry in acl.props["ingress"] if entry["cidrBlock"] == "0.0.0.0/0"]
        assert actions == sorted(actions, reverse=True), "what is denied is denied before anything lets it in"


def test_names_that_others_say_are_the_names(deployed, recording):
    (session,) = [d for d in deployed.of("ssm/document") if d.props["documentType"] == "Session"]
    hosts = recording.outputs["inventory"]["all"]["hosts"].values()
    assert {variables["ansible_aws_ssm_document"] for variables in hosts} == {session.props["name"]}
    assert {variables["ansible_aws_ssm_bucket_name"] for variables in hosts} <= {
        bucket.props["bucket"] for bucket in deployed.of("s3/bucket")
    }
    for association in deployed.of("ssm/association"):
        named = deployed.one("ssm/document", association.name).props
        assert association.props["name"] == named["name"] and named["documentFormat"] == "JSON"
        assert named["targetType"] == "/AWS::EC2::Instance"
    (provider,) = deployed.of("pulumi:providers:aws")
    assert provider.props["region"] == config_of(deployed.stack)["region"]


def test_images_say_whose_they_are_and_are_built_with_our_keys(deployed):
    """docs/aws.md finds what a destroyed stack leaves by these tags."""
    for distribution in deployed.of("imagebuilder/distributionConfiguration"):
        (one,) = distribution.props["distributions"]
        tags = one["amiDistributionConfiguration"]["amiTags"]
        assert {"hybrid:platform", "hybrid:stack", "hybrid:owner", "hybrid:image"} <= set(tags)
        assert tags["hybrid:stack"] == deployed.stack and one["region"] == config_of(deployed.stack)["region"]
        assert "imagebuilder:buildDate" in one["amiDistributionConfiguration"]["name"], (
            "or the second build has a taken name"
        )
        (parameter,) = one["ssmParameterConfigurations"]
        assert parameter["dataType"] == "aws:ec2:image"
    for component in deployed.of("imagebuilder/component"):
        assert component.props["kmsKeyId"] == deployed.one("imagebuilder/imageRecipe", "images-debian-13").props[
            "blockDeviceMappings"][0]["ebs"]["kmsKeyId"]  # fmt: skip


def test_buckets_of_production_go_only_when_they_are_empty(prod, dev):
    """But the package snapshot's, in which all can be fetched again."""
    for bucket in prod.of("s3/bucket"):
        kept = bucket.name != "packages"
        assert (bucket.protect, bucket.props["forceDestroy"]) == (kept, not kept), bucket.name
    assert all(bucket.props["forceDestroy"] and not bucket.protect for bucket in dev.of("s3/bucket"))


def test_aliases_of_keys_are_those_of_the_documents(deployed):
    """docs/aws.md names them, and a restore needs one."""
    prefix = f"alias/{deployed.plan.spec.name}-{deployed.stack}/"
    assert {alias.props["name"] for alias in deployed.of("kms/alias")} == {
        f"{prefix}{purpose}" for purpose in ("data", "logs", "cluster", "artifacts", "backup")
    }
    assert all(key.props["deletionWindowInDays"] == 30 for key in deployed.of("kms/key"))
    assert re.search(r"alias/reference-aws-prod/data", (CHECKOUT / "docs/aws.md").read_text())
