"""Patching: what counts as missing, when it is installed, who hears when it was not."""

from __future__ import annotations

import json
import re
import subprocess
import time
from os import utime

import pytest
from botocore.session import get_session
from jsonschema import validate
from recording import CHECKOUT, stack_config
from shell import check_shell

from infra.placement import Runtime
from infra.targets.aws.patching import DAYS


def releases(plan) -> set[str]:
    return {workload.os for workload in plan.on(Runtime.VM).values()}


def test_every_release_has_a_baseline_of_security_updates_by_severity(deployed, plan):
    for os in releases(plan):
        baseline = deployed.one("ssm/patchBaseline", f"patching-{os}").props
        assert baseline["operatingSystem"] == "DEBIAN"
        levels = [r["complianceLevel"] for r in baseline["approvalRules"]]
        assert len(set(levels)) == len(levels) >= 2
        for approval in baseline["approvalRules"]:
            filters = {f["key"]: f["values"] for f in approval["patchFilters"]}
            assert filters["PRODUCT"] == ["*"] and not approval["enableNonSecurity"]
        # Each of Debian's priorities is in one rule, the more important the worse.
        by_level = {r["complianceLevel"]: r["patchFilters"][1]["values"] for r in baseline["approvalRules"]}
        assert sorted(by_level, key=["CRITICAL", "HIGH", "MEDIUM", "LOW"].index) == list(by_level)
        priorities = [priority for values in by_level.values() for priority in values]
        assert priorities == ["Required", "Important", "Standard", "Optional", "Extra"]


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


def test_a_database_that_nobody_could_take_over_is_patched_all_the_same(recording):
    """The role refuses such a primary unless its downtime is allowed, and a window is where it is."""
    hosts = recording.outputs["inventory"]["all"]["hosts"].values()
    databases = [variables for variables in hosts if variables["workload_package"] == "postgresql"]
    assert databases and all(variables["patching_allow_downtime"] is True for variables in databases)


def plays(deployed):
    return [d for d in deployed.of("ssm/document") if d.props["documentType"] == "Command"]


def test_every_way_in_which_a_window_ends_badly_pages(deployed):
    """As the reference of its execution's states has them; of the others one is success, three are still on the way."""
    states = get_session().get_service_model("ssm").shape_for("MaintenanceWindowExecutionStatus").enum
    good = {"PENDING", "IN_PROGRESS", "SUCCESS", "CANCELLING"}
    pattern = json.loads(deployed.one("cloudwatch/eventRule", "patching-failed").props["eventPattern"])
    assert set(pattern["detail"]["status"]) == set(states) - good


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
