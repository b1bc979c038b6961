"""What AWS would take, and what would not work all the same: resources that belong together, and settings that others
rely on."""

from __future__ import annotations

import base64
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


def refers(resource, *others) -> bool:
    """Whether a resource waits for all of the others, as it does for whatever it names by id or ARN."""
    return {other.urn for other in others} <= resource.depends_on


def test_a_member_is_launched_from_its_own_template_as_its_own_workload(deployed):
    for group in deployed.of("autoscaling/group"):
        template = deployed.one("ec2/launchTemplate", group.name)
        assert group.props["launchTemplate"] == {"id": f"LaunchTemplate-{group.name}", "version": "1"}
        profile = deployed.one("iam/instanceProfile", f"vm-{group.tags['hybrid:workload']}")
        assert refers(template, profile) and template.props["iamInstanceProfile"]["arn"].endswith(f"/{profile.name}")
        # Two cannot hold one interface: the old one goes first. And the wait ends no sooner than the gate.
        assert group.props["instanceMaintenancePolicy"] == {"minHealthyPercentage": 0, "maxHealthyPercentage": 100}
        (hook,) = group.props["initialLifecycleHooks"]
        assert group.props["waitForCapacityTimeout"] == f"{hook['heartbeatTimeout'] // 60:g}m"


def test_a_sandboxed_node_brings_its_sandbox(deployed):
    template = deployed.one("ec2/launchTemplate", "cluster-microvm")
    parts = base64.b64decode(template.props["userData"]).decode()
    for text in ("multipart/mixed", "runsc", "kind: NodeConfig", 'runtime_type = "io.containerd.runsc.v1"'):
        assert text in parts, text
    (bucket,) = [b.props["bucket"] for b in deployed.of("s3/bucket") if b.name == "packages"]
    assert f"HYBRID_PACKAGES=https://{bucket}.s3.eu-central-1.amazonaws.com\n" in parts
    for other in ("cluster-container", "cluster-spot"):
        assert "userData" not in deployed.one("ec2/launchTemplate", other).props


def test_pools_are_as_large_as_the_stack_says_and_of_the_clusters_version(deployed):
    asked = config_of(deployed.stack)["cluster"]
    for group in deployed.of("eks/nodeGroup"):
        pool = group.name.removeprefix("cluster-")
        settings = asked["spot_pool" if pool == "spot" else pool]
        assert group.props["scalingConfig"] == {
            "minSize": settings["min_nodes"],
            "desiredSize": settings["min_nodes"],
            "maxSize": settings["max_nodes"],
        }
        assert group.props["instanceTypes"] == settings["instance_types"]
        assert (group.props["version"], group.props["releaseVersion"]) == (asked["version"], asked["node_release"])
        assert group.props["launchTemplate"] == {"id": f"LaunchTemplate-{group.name}", "version": "1"}
        assert group.props["labels"]["hybrid.platform/capacity"] == ("spot" if pool == "spot" else "on-demand")


def test_the_cluster_brings_nothing_of_its_own_and_never_costs_six_times_as_much(deployed):
    """Add-ons that EKS installs by itself are nobody's; and extended support is not slipped into."""
    (cluster,) = deployed.of("eks/cluster")
    assert cluster.props["bootstrapSelfManagedAddons"] is False
    assert cluster.props["upgradePolicy"] == {"supportType": "STANDARD"}
    assert cluster.props["zonalShiftConfig"] == {"enabled": True}
    assert cluster.props["version"] == config_of(deployed.stack)["cluster"]["version"]
    assert refers(cluster, deployed.one("ec2/securityGroup", "firewall-control-plane"))


def test_clients_come_in_by_tls_and_leave_a_trace(deployed):
    (balancer,), (listener,) = deployed.of("lb/loadBalancer"), deployed.of("lb/listener")
    assert balancer.props["dropInvalidHeaderFields"] and balancer.props["desyncMitigationMode"] == "strictest"
    assert balancer.props["accessLogs"]["enabled"] and "access-logs" in balancer.props["accessLogs"]["bucket"]
    certificate = config_of(deployed.stack).get("ingress", {}).get("certificate_arn")
    assert (
        listener.props["port"] == (443 if certificate else 80) and listener.props.get("certificateArn") == certificate
    )
    first, *_ = deployed.of("lb/targetGroup")
    assert refers(listener, balancer, first)
    for alarm in deployed.of("cloudwatch/metricAlarm"):
        if alarm.props["metricName"] == "HealthyHostCount":
            name = alarm.name.removesuffix("-unhealthy")
            wanted = {"LoadBalancer": "app/ingress/1", "TargetGroup": f"targetgroup/{name}/1"}
            assert alarm.props["dimensions"] == wanted


def test_what_is_written_down_goes_where_it_is_read(deployed):
    """Flow logs, the trail and its filters, output of windows and of jobs: each into the log group that is ours."""
    groups = {group.name: group for group in deployed.of("cloudwatch/logGroup")}
    (flow,) = deployed.of("ec2/flowLog")
    assert flow.props["logDestinationType"] == "cloud-watch-logs" and "iamRoleArn" in flow.props
    assert refers(flow, groups["network-flows"]) and flow.props["logDestination"].endswith("/flows")
    (trail,) = deployed.of("cloudtrail/trail")
    assert refers(trail, groups["audit-trail"]) and trail.props["cloudWatchLogsGroupArn"].endswith("/trail:*")
    for watched in deployed.of("cloudwatch/logMetricFilter"):
        assert watched.props["logGroupName"] == groups["audit-trail"].props["name"]
    for task in deployed.of("ssm/maintenanceWindowTask"):
        output = task.props["taskInvocationParameters"]["runCommandParameters"]["cloudwatchConfig"]
        assert output["cloudwatchOutputEnabled"] is True
        assert output["cloudwatchLogGroupName"] == groups["observability-commands"].props["name"]
    for project in deployed.of("codebuild/project"):
        logs = project.props["logsConfig"]["cloudwatchLogs"]
        assert (logs["status"], logs["groupName"]) == ("ENABLED", groups["observability-builds"].props["name"])
        assert project.props["concurrentBuildLimit"] == 1, "two would write the same thing"


def test_a_pipeline_builds_its_own_recipe_for_its_own_distribution(deployed):
    for pipeline in deployed.of("imagebuilder/imagePipeline"):
        kinds = ("imageRecipe", "distributionConfiguration")
        assert refers(pipeline, *(deployed.one(f"imagebuilder/{kind}", pipeline.name) for kind in kinds))
        assert refers(pipeline, deployed.one("imagebuilder/infrastructureConfiguration", "images-builder"))
        for key, kind in (("imageRecipeArn", "image-recipe"), ("distributionConfigurationArn", "distribution-")):
            assert f":{kind}" in pipeline.props[key]
    (builder,) = deployed.of("imagebuilder/infrastructureConfiguration")
    assert "-isolated-" in builder.props["subnetId"] and builder.props["terminateInstanceOnFailure"]


def test_tasks_are_for_the_targets_of_their_window_by_the_role_for_it(deployed):
    for task in deployed.of("ssm/maintenanceWindowTask"):
        target = deployed.one("ssm/maintenanceWindowTarget", task.name.rpartition("-")[0])
        (aimed_at,) = task.props["targets"]
        assert aimed_at == {"key": "WindowTargetIds", "values": [f"MaintenanceWindowTarget-{target.name}"]}
        assert task.props["windowId"] == target.props["windowId"]
        assert refers(task, target, deployed.one("iam/role", "patching-window"))


def test_who_is_paged_is_who_the_stack_names(deployed):
    asked = config_of(deployed.stack)["observability"]
    (subscription,) = deployed.of("sns/topicSubscription")
    assert (subscription.props["protocol"], subscription.props["endpoint"]) == ("email", asked["alarm_email"])
    (budget,) = deployed.of("budgets/budget")
    assert budget.props["limitAmount"] == str(asked["monthly_budget_usd"])
    told = {(n["notificationType"], n["comparisonOperator"], n["threshold"]) for n in budget.props["notifications"]}
    assert told == {("ACTUAL", "GREATER_THAN", 80), ("FORECASTED", "GREATER_THAN", 100)}
    assert {n["thresholdType"] for n in budget.props["notifications"]} == {"PERCENTAGE"}


def test_what_is_kept_ends_and_versions_do_too(deployed):
    config = config_of(deployed.stack)
    for lifecycle in deployed.of("s3/bucketLifecycleConfiguration"):
        rules = {rule["id"]: rule for rule in lifecycle.props["rules"]}
        assert all(rule["status"] == "Enabled" for rule in rules.values())
        assert rules["forget-old-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 90}
        logs = lifecycle.name in ("audit-trail", "ingress-access-logs")
        assert ("expire" in rules) is logs
        assert not logs or rules["expire"]["expiration"] == {"days": config["observability"]["log_days"]}
