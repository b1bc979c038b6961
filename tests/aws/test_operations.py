"""Backups, the way in, audit, sessions."""

from __future__ import annotations

import json
import re

from recording import CHECKOUT, deploy, stack_config

from infra.placement import Runtime
from infra.spec import Compliance
from infra.targets.aws.backup import SCHEDULES


def test_sessions_are_logged_and_encrypted(deployed):
    (document,) = [d for d in deployed.of("ssm/document") if d.props["documentType"] == "Session"]
    inputs = json.loads(document.props["content"])["inputs"]
    group = deployed.one("cloudwatch/logGroup", "observability-sessions")
    assert inputs["cloudWatchLogGroupName"] == group.props["name"]
    assert inputs["cloudWatchEncryptionEnabled"] and inputs["cloudWatchStreamingEnabled"]


# Backups


def test_every_class_in_use_has_its_plan(deployed, plan):
    wanted = {w.checklist.compliance for w in plan.on(Runtime.VM).values() if w.resources.disk}
    assert wanted
    for compliance in wanted:
        rules = deployed.one("backup/plan", f"backup-{compliance.value}").props["rules"]
        kept = [(rule["schedule"], rule["lifecycle"]["deleteAfter"]) for rule in rules]
        assert kept == [(schedule.cron, schedule.keep_days) for schedule in SCHEDULES[compliance]]


def test_backups_are_of_what_is_of_this_platform_and_in_its_class(deployed, plan):
    """Every condition has to hold: another platform of the account has volumes of the same classes."""
    for selection in deployed.of("backup/selection"):
        (conditions,) = selection.props["conditions"]
        wanted = {c["key"].removeprefix("aws:ResourceTag/"): c["value"] for c in conditions["stringEquals"]}
        assert wanted["hybrid:platform"] == plan.spec.name and wanted["hybrid:stack"] == deployed.stack
        assert wanted["hybrid:backup"] == selection.props["name"]
        (volumes,) = selection.props["resources"]
        assert re.fullmatch(r"arn:aws:ec2:eu-central-1:\d{12}:volume/\*", volumes)
        assert deployed.one("backup/plan", f"backup-{selection.props['name']}").urn in selection.depends_on
    for volume in deployed.of("ebs/volume"):
        compliance = plan.spec.workloads[volume.tags["hybrid:workload"]].checklist.compliance.value
        assert volume.tags["hybrid:backup"] == compliance


def test_regulated_data_is_saved_hourly_and_kept_for_more_than_a_year():
    """What docs/aws.md promises."""
    hours = {schedule.keep_days for schedule in SCHEDULES[Compliance.REGULATED] if schedule.cron.startswith("cron(0 *")}
    days = {schedule.keep_days for schedule in SCHEDULES[Compliance.REGULATED] if "* * *)" in schedule.cron}
    assert hours == {7} and max(days) >= 400
    assert [s.keep_days for s in SCHEDULES[Compliance.INTERNAL]] == [35]
    assert [(s.cron.split()[4], s.keep_days) for s in SCHEDULES[Compliance.NONE]] == [("SUN", 28)]


def test_the_vault_has_a_key_of_its_own(deployed):
    (vault,) = deployed.of("backup/vault")
    assert deployed.one("kms/key", "keys-backup").urn in vault.depends_on


def test_the_registry_keeps_the_newest_images(deployed):
    for policy in deployed.of("ecr/lifecyclePolicy"):
        (rule,) = json.loads(policy.props["policy"])["rules"]
        assert rule["selection"] == {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 30}
        assert rule["action"] == {"type": "expire"}


def test_every_log_is_kept_as_long_as_the_stack_says(deployed, stack):
    config = stack_config(stack)["hybrid-platform:aws"]
    for group in deployed.of("cloudwatch/logGroup"):
        if group.name != "network-flows":
            assert group.props["retentionInDays"] == config["observability"]["log_days"], group.name


def test_volumes_of_pods_are_backed_up_as_the_strictest_of_them_asks(tmp_path):
    """Pulumi does not make them: the driver tags what it makes, and the plan of that class finds it."""
    text = (CHECKOUT / "platform.yaml").read_text()
    assert "\n  worker:\n" in text
    spec = tmp_path / "platform.yaml"
    for asked, plans in (("none", {"none", "regulated"}), ("internal", {"internal", "regulated"})):
        before, worker = text.split("\n  worker:\n")
        spec.write_text(f"{before}\n  worker:\n{re.sub('compliance: [a-z]+', f'compliance: {asked}', worker)}")
        recording = deploy("aws-dev", spec=spec)
        assert recording.plan.spec.workloads["worker"].resources.disk
        driver = recording.deployment.one("eks/addon", "cluster-aws-ebs-csi-driver").props
        tags = json.loads(driver["configurationValues"])["controller"]["extraVolumeTags"]
        assert tags["hybrid:backup"] == asked and tags["hybrid:owner"] and tags["hybrid:platform"] == "reference"
        selections = {s.props["name"]: s.props for s in recording.deployment.of("backup/selection")}
        assert set(selections) == plans
        (wanted,) = selections[asked]["conditions"]
        assert {
            w["key"].removeprefix("aws:ResourceTag/"): w["value"] for w in wanted["stringEquals"]
        }.items() <= tags.items()


def test_the_stricter_the_class_the_longer_and_the_oftener():
    ranked = [SCHEDULES[c] for c in sorted(SCHEDULES, key=lambda c: list(type(c)).index(c))]
    longest = [max(schedule.keep_days for schedule in schedules) for schedules in ranked]
    assert longest == sorted(longest) and len(set(longest)) == len(longest)


def test_production_locks_the_vault_for_good(prod, stack):
    (lock,) = prod.of("backup/vaultLockConfiguration")
    assert lock.props["changeableForDays"] >= 3
    assert lock.props["minRetentionDays"] <= min(s.keep_days for ss in SCHEDULES.values() for s in ss)


# The way in


def test_public_workloads_are_reached_through_the_balancer_alone(deployed, plan, recording, stack):
    public = [name for name, workload in plan.spec.workloads.items() if workload.public]
    assert {group.tags["hybrid:workload"] for group in deployed.of("lb/targetGroup")} == set(public)
    (balancer,) = deployed.of("lb/loadBalancer")
    ingress = stack_config(stack)["hybrid-platform:aws"].get("ingress", {})
    assert balancer.props["internal"] is not bool(ingress)
    tier = "public" if ingress else "private"
    assert all(f"-{tier}-" in subnet for subnet in balancer.props["subnets"])
    assert recording.outputs["app_url"].startswith("https://" if ingress else "http://")


def test_the_balancer_reaches_every_node_that_may_run_a_public_workload(deployed, plan):
    for name, workload in plan.spec.workloads.items():
        runtime = plan.placement(name).runtime
        if workload.public and runtime is not Runtime.VM:
            groups = [g for g in deployed.of("eks/nodeGroup") if g.tags["hybrid:runtime"] == runtime.value]
            attached = [a for a in deployed.of("autoscaling/attachment") if a.name.startswith(f"ingress-{name}-")]
            assert len(attached) == len(groups) > 0


def test_a_public_workload_on_a_machine_is_reached_by_its_address(tmp_path):
    text = (CHECKOUT / "platform.yaml").read_text()
    spec = tmp_path / "platform.yaml"
    spec.write_text(text.replace("    ports: [7070]\n", "    ports: [7070]\n    public: true\n"))
    deployed = deploy("aws-prod", spec=spec).deployment
    attached = deployed.one("lb/targetGroupAttachment", "ingress-tariffs-0").props
    assert attached["targetId"].startswith("10.")
    rule = deployed.one("vpc/securityGroupIngressRule", "firewall-balancer-to-vm-tariffs-7070").props
    assert rule["referencedSecurityGroupId"].endswith("-balancer")


# Audit


def test_audit_is_by_switch(prod):
    assert prod.of("cloudtrail/trail") and prod.of("guardduty/detector")

    def off(config):
        config["audit"] = {"trail": False, "guardduty": False}

    (detector,) = prod.of("guardduty/detector")
    assert detector.props["enable"]
    assert {feature.props["status"] for feature in prod.of("guardduty/detectorFeature")} == {"ENABLED"}
    findings = json.loads(prod.one("cloudwatch/eventRule", "audit-findings").props["eventPattern"])
    assert findings["detail"] == {"severity": [{"numeric": [">=", 4]}]}, "4 is where medium begins"

    without = deploy("aws-prod", off).deployment
    assert not without.of("cloudtrail/trail") and not without.of("guardduty/detector")
