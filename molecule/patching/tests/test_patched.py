"""How machines are after the rollout at the end of side_effect.yml, and what it has left as evidence."""

import json
import os
from pathlib import Path

import pytest

EVIDENCE = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "evidence" / "rollout"


@pytest.fixture
def name(host):
    return host.backend.host


@pytest.fixture
def evidence(name):
    return json.loads((EVIDENCE / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def versions(host):
    lines = host.check_output("dpkg-query --show --showformat='${Package} ${Version}\\n' 'practice-*'").splitlines()
    return {package.removeprefix("practice-"): version for package, version in map(str.split, lines)}


def test_what_was_pending_is_installed(versions, name):
    newest = {"service": "1.1", "stale": "1.1", "unit": "1.1", "secure": "1.2", "conf": "1.1", "reboot": "1.1"}
    # Mended after they had stopped the rollout.
    newest |= {"dies": "1.3", "stands": "1.3"} if name == "bookworm" else {"dies": "1.1", "stands": "1.0"}
    assert newest.items() <= versions.items()


def test_what_counts_as_automatically_installed_is_what_did_before(host, versions):
    assert versions["lib"] == "1.2"
    assert host.check_output("apt-mark showauto 'practice-*'") == "practice-lib"


def test_held_excluded_and_phased_packages_are_as_they_were(host, versions):
    assert [versions[package] for package in ("held", "excluded", "phased")] == ["1.0"] * 3
    assert host.check_output("apt-mark showhold") == "practice-held"


def test_what_is_phased_in_is_neither_applied_nor_missing(host, name, evidence):
    assert "practice-phased" not in {change["name"] for change in evidence["changes"]}
    fact = json.loads(host.file("/etc/ansible/facts.d/patching.fact").content_string)
    assert "practice-phased" not in fact["left"] and "practice-held" in fact["left"]
    summary = json.loads((EVIDENCE / "summary.json").read_text())
    assert summary["packages_missing"] == {}


def test_a_changed_configuration_file_was_kept_without_a_question(host):
    assert host.check_output("cat /etc/practice-conf.conf") == "answer = 42"


def test_every_service_runs(host):
    services = [f"practice-{service}" for service in ("service", "stale", "unit", "stands", "dies")]
    assert host.check_output(f"systemctl is-active {' '.join(services)}").split() == ["active"] * len(services)
    assert host.check_output("systemctl list-units --state=failed --plain --no-legend") == ""


def test_the_distributions_own_runs_are_planned_again(host):
    timers = "apt-daily.timer apt-daily-upgrade.timer hybrid-platform-patching-ends.timer"
    assert host.run(f"systemctl is-active {timers}").stdout.split() == ["active", "active", "inactive"]


def test_the_machine_went_out_of_service_and_came_back(host):
    """The hooks of converge.yml and of the update that failed; meanwhile the distribution's own runs were not planned,
    but their way back was."""
    steps = host.file("/var/lib/practice-log").content_string.splitlines()
    assert steps and steps == ["out inactive inactive active", "in"] * (len(steps) // 2)


def test_the_evidence_says_what_an_auditor_asks(name, evidence):
    assert evidence["host"] == name and evidence["run"] == "rollout" and evidence["result"] == "patched"
    assert evidence["started"] < evidence["ended"] and evidence["requester"] == "molecule"
    assert set(evidence["window"]) == {"from", "until"} and evidence["scope"] == "all"
    assert {"name": "practice-service", "from": "1.0", "to": "1.1"} in evidence["changes"]
    assert evidence["packages"]["before"]["practice-service"] == "1.0"
    assert evidence["packages"]["after"]["practice-service"] == "1.1"
    assert evidence["cves"]["closed"]["practice-service"] == ["CVE-2026-11111", "CVE-2026-22222"]
    assert evidence["cves"]["closed"]["practice-secure"] == ["CVE-2026-33333"]
    assert evidence["cves"]["unread"] == []
    still_open = evidence["cves"]["open"]
    if name == "trixie":
        assert [(one["cve"], one["package"]) for one in still_open["cves"]] == [("CVE-2026-44444", "practice-held")]
    else:
        assert (still_open["status"], still_open["reason"]) == ("unknown", "debsecan is not installed")
    assert evidence["rebooted"] and evidence["reboot_pending"] == []
    assert "practice-service.service" in evidence["services"]["after"]
    assert evidence["holds"] == ["practice-held"]


def test_the_inventory_tool_learns_the_age_of_the_patches(host, name):
    facts = host.ansible("setup", "gather_subset=!all,local")["ansible_facts"]["ansible_local"]["patching"]
    # Although one package of one machine was updated later.
    last = json.loads((EVIDENCE / f"{name}.json").read_text())["ended"]
    assert (facts["last"], facts["run"], facts["scope"]) == (last, "rollout", "all")
    assert facts["reboot_pending"] == []


def test_the_fleet_summary_names_every_machine(name):
    text = (EVIDENCE / "summary.md").read_text()
    assert f"| {name} | patched |" in text and "CVE-2026-11111" in text
