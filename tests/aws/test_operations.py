"""Images, patches, backups, the way in, audit, and the hand-over to Ansible."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from os import utime
from pathlib import Path

import jinja2
import pytest
import yaml
from jsonschema import validate
from recording import CHECKOUT, deploy, stack_config
from shell import check_shell

from infra.placement import Runtime
from infra.targets.aws.artifacts import BUNDLED, bundle, digest_of
from infra.targets.aws.backup import SCHEDULES
from infra.targets.aws.patching import DAYS

SSM_COMMAND = {
    "type": "object",
    "required": ["schemaVersion", "description", "parameters", "mainSteps"],
    "additionalProperties": False,
    "properties": {
        "schemaVersion": {"const": "2.2"},
        "description": {"type": "string"},
        "parameters": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["type", "description", "default", "allowedPattern"],
                "properties": {"type": {"const": "String"}},
            },
        },
        "mainSteps": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["action", "name", "inputs"],
                "properties": {
                    "action": {"const": "aws:runShellScript"},
                    "name": {"pattern": "^[A-Za-z0-9_]+$"},
                    "inputs": {
                        "required": ["runCommand", "timeoutSeconds"],
                        "properties": {
                            "runCommand": {"type": "array", "items": {"type": "string"}},
                            "timeoutSeconds": {"pattern": "^[0-9]+$"},
                        },
                    },
                },
            },
        },
    },
}


def test_ssm_documents_have_the_schema_and_their_scripts_parse(deployed):
    commands = [d for d in deployed.of("ssm/document") if d.props["documentType"] == "Command"]
    assert commands
    for document in commands:
        content = json.loads(document.props["content"])
        validate(content, SSM_COMMAND)
        for step in content["mainSteps"]:
            check_shell("\n".join(step["inputs"]["runCommand"]))
        declared = set(content["parameters"])
        used = set(re.findall(r"{{ *(\w+) *}}", document.props["content"]))
        assert used <= declared, f"{document.name} uses parameters that it does not declare"


def test_a_parameter_of_a_document_cannot_carry_a_command(deployed):
    """Parameters are put into the script as text: what they may be must exclude quotes and separators."""
    for document in deployed.of("ssm/document"):
        for name, parameter in json.loads(document.props["content"]).get("parameters", {}).items():
            assert not parameter["default"] or re.fullmatch(parameter["allowedPattern"], parameter["default"]), name
            for attack in ("x.yml'; reboot #", "$(reboot)", "playbooks/../../x.yml", "`id`"):
                assert not re.fullmatch(parameter["allowedPattern"], attack), f"{document.name}: {name}"


def test_sessions_are_logged_and_encrypted(deployed):
    (document,) = [d for d in deployed.of("ssm/document") if d.props["documentType"] == "Session"]
    inputs = json.loads(document.props["content"])["inputs"]
    group = deployed.one("cloudwatch/logGroup", "observability-sessions")
    assert inputs["cloudWatchLogGroupName"] == group.props["name"]
    assert inputs["cloudWatchEncryptionEnabled"] and inputs["cloudWatchStreamingEnabled"]


# Golden images


def releases(plan) -> set[str]:
    return {workload.os for workload in plan.on(Runtime.VM).values()}


def test_every_release_of_the_vm_tier_has_a_pipeline_that_tests_what_it_builds(deployed, plan):
    for os in releases(plan):
        recipe = deployed.one("imagebuilder/imageRecipe", f"images-{os}").props
        arns = [component["componentArn"] for component in recipe["components"]]
        phases = []
        for component in deployed.of("imagebuilder/component"):
            if any(f"/{component.props['name']}/" in arn for arn in arns):
                document = yaml.safe_load(component.props["data"])
                phases += [phase["name"] for phase in document["phases"]]
                for step in (step for phase in document["phases"] for step in phase["steps"]):
                    check_shell("\n".join(step["inputs"]["commands"]))
        assert sorted(phases) == ["build", "test"]
        pipeline = deployed.one("imagebuilder/imagePipeline", f"images-{os}").props
        assert pipeline["imageTestsConfiguration"]["imageTestsEnabled"] and pipeline["schedule"]


def test_the_build_runs_the_collections_playbook_and_the_hygiene_suite(deployed):
    data = " ".join(c.props["data"] for c in deployed.of("imagebuilder/component"))
    assert "playbooks/golden_image.yml" in data and (CHECKOUT / "playbooks" / "golden_image.yml").exists()
    for looked_at in ("/usr/lib/golden-image/hygiene.sh booted", "ssh_host_", "authorized_keys", "--failed"):
        assert looked_at in data, f"the hygiene suite does not look at {looked_at}"


def test_candidates_are_encrypted_and_named_in_a_versioned_parameter(deployed, plan):
    for os in releases(plan):
        (distribution,) = deployed.one("imagebuilder/distributionConfiguration", f"images-{os}").props["distributions"]
        assert distribution["amiDistributionConfiguration"]["kmsKeyId"]
        (parameter,) = distribution["ssmParameterConfigurations"]
        # Image Builder's own role may write parameters below /imagebuilder and log groups below /aws/imagebuilder.
        assert re.fullmatch(rf"/imagebuilder/[\w-]+/{os}/candidate", parameter["parameterName"])
        logs = deployed.one("imagebuilder/imagePipeline", f"images-{os}").props["loggingConfiguration"]
        assert all(group.startswith("/aws/imagebuilder/") for group in logs.values()) and len(logs) == 2


def test_a_candidate_promotes_nothing(deployed):
    """No template reads the parameter: from candidate to root there is no way but a reviewed change of the pin."""
    for template in deployed.of("ec2/launchTemplate"):
        assert "candidate" not in json.dumps(template.props) and "resolve:ssm" not in json.dumps(template.props)


def test_image_versions_change_with_their_content():
    from infra.targets.aws.golden_image import version_of

    assert version_of("a") == version_of("a") != version_of("b")
    assert re.fullmatch(r"\d+\.\d+\.\d+", version_of("a"))


def test_old_images_are_deprecated_then_disabled_then_deleted(deployed):
    (policy,) = deployed.of("imagebuilder/lifecyclePolicy")
    ages = {d["action"]["type"]: d["filter"]["value"] for d in policy.props["policyDetails"]}
    assert ages["DEPRECATE"] < ages["DISABLE"] < ages["DELETE"]
    kept = {d["action"]["type"]: d["filter"].get("retainAtLeast") for d in policy.props["policyDetails"]}
    assert kept == {"DEPRECATE": None, "DISABLE": None, "DELETE": 3}, "only what is deleted can be held back by number"


def test_old_images_are_those_of_our_recipes_in_any_version(deployed):
    """A recipe's version changes with every edit of a build script; and tags would select what others built, too."""
    (policy,) = deployed.of("imagebuilder/lifecyclePolicy")
    recipes = {recipe.props["name"] for recipe in deployed.of("imagebuilder/imageRecipe")}
    selection = policy.props["resourceSelection"]
    assert {r["name"] for r in selection["recipes"]} == recipes and "tagMap" not in selection
    assert {r["semanticVersion"] for r in selection["recipes"]} == {"x.x.x"}


def test_an_image_that_members_start_from_is_never_retired(prod):
    """A member may run for a year on one image, and its group must be able to launch that one again."""
    image = "ami-0123456789abcdef0"

    def promote(config):
        config["vm_tier"]["images"]["debian-13"]["golden"] = image

    deployed = deploy("aws-prod", promote).deployment
    (mark,) = deployed.of("ec2/tag")
    assert mark.props["resourceId"] == image == deployed.one("ec2/launchTemplate", "vm-ledger-0").props["imageId"]
    for detail in deployed.of("imagebuilder/lifecyclePolicy")[0].props["policyDetails"]:
        assert detail["exclusionRules"]["amis"]["tagMap"] == {mark.props["key"]: mark.props["value"]}
    assert not prod.of("ec2/tag"), "nothing is promoted yet"


def test_a_pinned_parent_is_found_when_it_is_old(recording):
    """A public image is deprecated after two years, and then found only by those who ask for deprecated ones."""
    looked_up = recording.calls["aws:ec2/getAmi:getAmi"]
    assert looked_up and all(arguments["includeDeprecated"] for arguments in looked_up)
    assert all(arguments["owners"] == ["136693071363"] and not arguments["mostRecent"] for arguments in looked_up)


# Patching


def test_every_release_has_a_baseline_of_security_updates_by_severity(deployed, plan):
    products = {"debian-12": "Debian12", "debian-13": "Debian13"}
    for os in releases(plan):
        baseline = deployed.one("ssm/patchBaseline", f"patching-{os}").props
        assert baseline["operatingSystem"] == "DEBIAN"
        levels = [r["complianceLevel"] for r in baseline["approvalRules"]]
        assert len(set(levels)) == len(levels) >= 2
        for approval in baseline["approvalRules"]:
            filters = {f["key"]: f["values"] for f in approval["patchFilters"]}
            assert filters["PRODUCT"] == [products[os]] and not approval["enableNonSecurity"]


def window_day(deployed, group: str) -> int:
    schedule = deployed.one("ssm/maintenanceWindow", f"patching-{group}").props["schedule"]
    return DAYS.index(re.fullmatch(r"cron\(0 \d+ \? \* (\w+) \*\)", schedule)[1])


def test_canaries_are_patched_days_before_the_rest(deployed, stack):
    config = stack_config(stack)["hybrid-platform:aws"]["patching"]
    head_start = (window_day(deployed, "rest") - window_day(deployed, "canary")) % 7
    assert head_start == config["window"]["canary_days"] > 0
    canaries = {t.name for t in deployed.of("ssm/maintenanceWindowTarget") if t.name.startswith("patching-canary-")}
    assert canaries == {f"patching-canary-{name}" for name in config["canaries"]}


def test_the_window_runs_patch_yml_and_then_measures(deployed):
    for target in deployed.of("ssm/maintenanceWindowTarget"):
        tasks = {
            task.props["taskArn"]: task.props
            for task in deployed.of("ssm/maintenanceWindowTask")
            if task.name.startswith(f"{target.name}-")
        }
        (play,) = [arn for arn in tasks if "play" in arn]
        command = tasks[play]["taskInvocationParameters"]["runCommandParameters"]
        assert command["parameters"] == [{"name": "Playbook", "values": ["playbooks/patch.yml"]}]
        assert tasks["AWS-RunPatchBaseline"]["priority"] > tasks[play]["priority"]


def test_a_machine_reboots_in_its_window_only(deployed, recording):
    """Ansible runs on the machine itself and cannot reboot it, so SSM does; and the daily run must not."""
    text = " ".join(json.loads(d.props["content"])["mainSteps"][0]["inputs"]["runCommand"][-1] for d in plays(deployed))
    assert re.search(r"== playbooks/patch\.yml \]\] && needs_reboot; then\n.*\n    exit 194\n", text)
    hosts = recording.outputs["inventory"]["all"]["hosts"]
    assert {variables["patching_reboot"] for variables in hosts.values()} == {"never"}


def plays(deployed):
    return [d for d in deployed.of("ssm/document") if d.props["documentType"] == "Command"]


def test_a_missed_window_pages(deployed, plan, stack):
    """Windows are weekly: a member that reports more than seven days, or nothing, has missed one."""
    for host in (f"{n}-{i}" for n, w in plan.on(Runtime.VM).items() for i in range(w.replicas)):
        alarm = deployed.one("cloudwatch/metricAlarm", f"patching-{host}-missed").props
        assert (alarm["comparisonOperator"], alarm["threshold"]) == ("GreaterThanThreshold", 7)
        assert alarm["treatMissingData"] == "breaching" and alarm["alarmActions"]
        span = alarm["period"] * alarm["evaluationPeriods"]
        assert 24 * 3600 < span <= 2 * 24 * 3600, "members report once a day"


@pytest.mark.parametrize(("age", "days"), [(0, 0), (7 * 86400 + 60, 7), (8 * 86400 + 60, 8)])
def test_a_member_reports_what_its_alarm_reads(age, days, prod, tmp_path):
    """The function itself is run, with `aws` as a stand-in that writes down how it was called."""
    home, called = tmp_path / "home", tmp_path / "called"
    home.mkdir()
    (home / "patched").touch()
    utime(home / "patched", (time.time() - age,) * 2)
    (tmp_path / "aws").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{called}\n')
    (tmp_path / "aws").chmod(0o755)
    library = (CHECKOUT / "infra/targets/aws/boot/library.sh").read_text().replace("/opt/hybrid", str(home))
    library = library.replace("/run/hybrid", str(tmp_path / "run"))
    run = f"HYBRID_REGION=r HYBRID_PATH=/hybrid/reference-aws-prod HYBRID_MEMBER=ledger-0\n{library}\nreport_patching"
    subprocess.run(["bash", "-c", run], check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    words = called.read_text().splitlines()
    options = dict(zip(words[2::2], words[3::2], strict=True))
    alarm = prod.one("cloudwatch/metricAlarm", "patching-ledger-0-missed").props
    assert words[:2] == ["cloudwatch", "put-metric-data"] and options["--value"] == str(days)
    assert (options["--namespace"], options["--metric-name"]) == (alarm["namespace"], alarm["metricName"])
    assert dict(part.split("=") for part in options["--dimensions"].split(",")) == alarm["dimensions"]
    allowed = [
        s
        for s in json.loads(prod.one("iam/rolePolicy", "vm-ledger").props["policy"])["Statement"]
        if s["Action"] == ["cloudwatch:PutMetricData"]
    ]
    assert allowed[0]["Condition"] == {"StringEquals": {"cloudwatch:namespace": alarm["namespace"]}}


def test_what_an_event_did_not_start_a_schedule_starts(deployed):
    """A job that runs refuses a second start, and EventBridge does not say that it would try again."""
    schedules = {
        r.name: r.props["scheduleExpression"]
        for r in deployed.of("cloudwatch/eventRule")
        if r.props.get("scheduleExpression")
    }
    assert schedules["jobs-images-daily"] == "rate(1 day)" and "cron" in schedules["jobs-packages-weekly"]
    after_images = json.loads(deployed.one("cloudwatch/eventRule", "jobs-operator-images").props["eventPattern"])
    assert after_images["detail"]["project-name"][0].endswith("-images")


# Backups


def test_every_class_in_use_has_its_plan(deployed, plan):
    wanted = {w.checklist.compliance for w in plan.on(Runtime.VM).values() if w.resources.disk}
    assert wanted
    for compliance in wanted:
        rules = deployed.one("backup/plan", f"backup-{compliance.value}").props["rules"]
        kept = [rule["lifecycle"]["deleteAfter"] for rule in rules]
        assert kept == [schedule.keep_days for schedule in SCHEDULES[compliance]]


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

    without = deploy("aws-prod", off).deployment
    assert not without.of("cloudtrail/trail") and not without.of("guardduty/detector")


# Hand-over


def test_the_inventory_has_the_shape_of_the_local_one(recording, plan):
    inventory = recording.outputs["inventory"]["all"]
    members = {f"{n}-{i}": n for n, w in plan.on(Runtime.VM).items() for i in range(w.replicas)}
    assert set(inventory["hosts"]) == set(inventory["children"]["vm_tier"]["hosts"]) == set(members)
    for host, workload in members.items():
        assert host in inventory["children"][workload.replace("-", "_")]["hosts"]
        variables = inventory["hosts"][host]
        assert variables["ansible_connection"] == "community.aws.aws_ssm"
        assert variables["workload_package"] == (plan.spec.workloads[workload].package or "")
        assert variables["ansible_host"] == recording.outputs["machines"][host]["address"]


def test_a_machines_own_firewall_admits_what_the_security_group_does(recording, plan, stack):
    zones = stack_config(stack)["hybrid-platform:aws"]["zones"]
    for host, variables in recording.outputs["inventory"]["all"]["hosts"].items():
        workload = plan.spec.workloads[variables["workload"]]
        assert [entry["port"] for entry in variables["firewall_allow"]] == list(workload.ports)
        in_cluster = [c for c in plan.callers_of(variables["workload"]) if plan.placement(c).runtime is not Runtime.VM]
        for entry in variables["firewall_allow"]:
            ranges = [source for source in entry["sources"] if "/" in source]
            assert len(ranges) == (len(zones) if in_cluster else 0), host


def test_the_inventory_holds_no_password(recording):
    text = json.dumps(recording.outputs["inventory"])
    assert '"password"' not in text and "postgresql_users" not in text


def test_a_new_bundle_runs_the_association_again_and_touches_no_template(deployed, plan):
    digest = deployed.one("ssm/parameter", "artifacts-bundle").props["value"]
    associations = deployed.of("ssm/association")
    assert len(associations) == len(plan.on(Runtime.VM))
    for association in associations:
        assert association.props["parameters"]["Bundle"] == digest
        assert (association.props["maxConcurrency"], association.props["maxErrors"]) == ("1", "0")


def test_who_listens_for_the_first_bundle_exists_before_it(deployed):
    uploaded = deployed.one("s3/bucketObjectv2", "artifacts-bundle")
    listeners = [t for t in deployed.of("cloudwatch/eventTarget") if t.name in ("jobs-packages", "jobs-images")]
    assert len(listeners) == 2
    assert {listener.urn for listener in listeners} <= uploaded.depends_on
    assert deployed.of("s3/bucketNotification")[0].urn in uploaded.depends_on


def test_the_operator_alone_stands_in_the_vpc(deployed):
    projects = {project.name: project.props for project in deployed.of("codebuild/project")}
    assert [name for name, props in projects.items() if "vpcConfig" in props] == ["jobs-operator"]
    assert all("-private-" in subnet for subnet in projects["jobs-operator"]["vpcConfig"]["subnets"])
    assert not any(props["environment"]["privilegedMode"] for props in projects.values())


def test_the_jobs_scripts_parse(deployed):
    for project in deployed.of("codebuild/project"):
        (command,) = json.loads(project.props["source"]["buildspec"])["phases"]["build"]["commands"]
        check_shell(command)


def test_the_operator_applies_manifests_that_are_whole():
    """Rendered with the variables that the job passes, and no others, as Ansible renders them."""
    folder = CHECKOUT / "infra" / "targets" / "aws" / "jobs"
    (play,) = yaml.safe_load((folder / "prepare.yml").read_text())
    passed = dict(re.findall(r"\b([a-z_]+)=(\$\w+)", (folder / "operator.sh").read_text()))
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    manifests = [
        manifest
        for name in play["tasks"][0]["loop"]
        for manifest in yaml.safe_load_all(environment.from_string((folder / name).read_text()).render(passed))
    ]
    found = {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}
    assert "kubeconfig" in passed and {"StorageClass", "RuntimeClass", "Deployment"} <= {kind for kind, _ in found}
    storage = found["StorageClass", "gp3"]["parameters"]
    assert storage["encrypted"] == "true" and storage["type"] == "gp3" and storage["kmsKeyId"] == "$HYBRID_KEY"
    (container,) = found["Deployment", "cluster-autoscaler"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "$autoscaler" and container["command"][-1].endswith("/$HYBRID_CLUSTER")


@pytest.fixture
def completed(tmp_path, recording, plan):
    """What the operator's job makes of plan, inventory, digests and passwords: the script itself, run as there."""
    sys.path.insert(0, str(CHECKOUT))
    from infra.targets.aws.workloads import described

    (tmp_path / "images.json").write_text(
        json.dumps([[f"/hybrid/x/images/{n}", f"r/{n}@sha256:0"] for n in plan.on(Runtime.CONTAINER, Runtime.MICROVM)])
    )
    (tmp_path / "authorities.json").write_text(json.dumps([["/hybrid/x/authorities/ledger-0", "-----BEGIN"]]))
    (tmp_path / "ledger.passwords.json").write_text(json.dumps({"web": "open sesame"}))
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps(recording.outputs["inventory"]))
    script = CHECKOUT / "infra" / "targets" / "aws" / "jobs" / "variables.py"
    run = subprocess.run(
        [sys.executable, script, tmp_path, inventory, "/kube"],
        input=json.dumps(described(plan)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_the_operator_hands_each_workload_its_flows_digest_and_passwords(completed, recording, plan):
    workloads = {workload["name"]: workload for workload in completed["cluster_workloads"]}
    assert set(workloads) == set(plan.on(Runtime.CONTAINER, Runtime.MICROVM))
    for flow in plan.flows():
        if flow.source not in workloads:
            continue
        where = "talks_to_pods" if flow.destination in workloads else "talks_to_addresses"
        assert any(p["name"] == flow.destination and p["port"] == flow.port for p in workloads[flow.source][where])
    assert all("@sha256:" in workload["image"] for workload in workloads.values())
    assert workloads["web"]["secrets"] == {"ledger-password": "open sesame"}
    assert Path(workloads["web"]["secret_files"]["ledger-ca"]).read_text() == "-----BEGIN"
    assert workloads["worker"]["secrets"] == {} and workloads["worker"]["runtime"] == "microvm"


def test_the_operator_speaks_the_roles_language(completed):
    """Every variable that the job sets is an option that the role's own specification knows, and none is missing."""
    for role in ("cluster_workloads", "cluster_services", "cluster_policies"):
        specification = CHECKOUT / "roles" / role / "meta" / "argument_specs.yml"
        options = yaml.safe_load(specification.read_text())["argument_specs"]["main"]["options"]
        own = {key for key in completed if key.startswith(f"{role}_") or key == role}
        assert own <= set(options)
        assert {name for name, option in options.items() if option.get("required")} <= own
    one = yaml.safe_load((CHECKOUT / "roles/cluster_workloads/meta/argument_specs.yml").read_text())
    fields = one["argument_specs"]["main"]["options"]["cluster_workloads"]["options"]
    for workload in completed["cluster_workloads"]:
        assert set(workload) <= set(fields)


def test_hosts_speak_the_roles_language(recording):
    """The same for the machines: the firewall's and the database's variables are the roles' own."""
    for role in ("firewall", "postgresql", "patching"):
        specification = CHECKOUT / "roles" / role / "meta" / "argument_specs.yml"
        options = yaml.safe_load(specification.read_text())["argument_specs"]["main"]["options"]
        for variables in recording.outputs["inventory"]["all"]["hosts"].values():
            assert {key for key in variables if key.startswith(f"{role}_")} <= set(options)


def test_every_playbook_that_aws_runs_is_in_the_collection(deployed):
    named = set(re.findall(r"playbooks/[a-z_]+\.yml", str([r.props for r in deployed.aws()])))
    folder = CHECKOUT / "infra" / "targets" / "aws"
    named |= {
        f"playbooks/{name}.yml"
        for name in re.search(r"^for playbook in (.*); do$", (folder / "jobs/operator.sh").read_text(), re.M)[1].split()
    }
    named |= set(re.findall(r"play (playbooks/\S+)", (folder / "boot/member.sh").read_text()))
    assert {"playbooks/patch.yml", "playbooks/vm_tier.yml", "playbooks/workloads.yml"} <= named
    assert [playbook for playbook in sorted(named) if not (CHECKOUT / playbook).exists()] == []


# The bundle


def test_the_bundle_is_the_same_for_the_same_files():
    assert digest_of(bundle(CHECKOUT)) == digest_of(bundle(CHECKOUT))


def test_the_bundle_changes_with_a_role_and_with_nothing_beside(tmp_path):
    for part in ("roles/x/tasks", "docs", "roles/x/__pycache__"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "roles/x/tasks/main.yml").write_text("- one\n")
    first = bundle(tmp_path)
    (tmp_path / "docs/new.md").write_text("text")
    (tmp_path / "roles/x/__pycache__/x.pyc").write_text("noise")
    assert bundle(tmp_path) == first
    (tmp_path / "roles/x/tasks/main.yml").write_text("- two\n")
    assert bundle(tmp_path) != first


def test_everything_that_is_bundled_exists():
    assert [part for part in BUNDLED if not (CHECKOUT / part).exists()] == []


def test_images_run_by_digest_from_immutable_repositories(deployed, plan):
    names = {r.props["name"].rsplit("/", 1)[-1] for r in deployed.of("ecr/repository")}
    assert names >= {n for n, w in plan.on(Runtime.CONTAINER, Runtime.MICROVM).items() if w.image}
    assert {policy.name for policy in deployed.of("ecr/lifecyclePolicy")} == {
        r.name for r in deployed.of("ecr/repository")
    }
