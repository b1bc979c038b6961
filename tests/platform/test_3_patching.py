"""The collection's patch playbook on the inventory that the platform exports, as anybody would run it.

Its machines, the Kubernetes node too, get a repository of small packages for the time, and know no other one.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.insight.evidence import read_evidence
from infra.machines.state import PROJECT
from tests.platform.conftest import PlatformUnderTest

MACHINES = ("ledger-0", "tariffs-0", "cluster-0")
DIRECTORY = "/srv/practice"
PUBLISH = f"ln -sfn stage-%d {DIRECTORY}/published"
BRING = f"""set -e
mkdir {DIRECTORY} /etc/apt/aside
tar --extract --directory={DIRECTORY} --file=/root/practice.tar
mv /etc/apt/sources.list* /etc/apt/aside/
echo 'deb [trusted=yes] file:{DIRECTORY}/published/main ./' >/etc/apt/sources.list
{PUBLISH % 1}
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install %s >/dev/null 2>&1
{PUBLISH % 2}"""
TAKE_AWAY = f"""DEBIAN_FRONTEND=noninteractive apt-get -qq purge 'practice-*' >/dev/null 2>&1
[ ! -d /etc/apt/aside ] || {{ rm -rf /etc/apt/sources.list && mv /etc/apt/aside/* /etc/apt/ && rmdir /etc/apt/aside; }}
rm -rf {DIRECTORY} /root/practice.tar /etc/ansible/facts.d/patching.fact /var/lib/apt/lists/*practice*"""


@pytest.fixture(scope="module")
def pending(platform: PlatformUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Machines with an update of a package, one of a service's unit, and on one machine one that asks for a reboot."""
    made = tmp_path_factory.mktemp("practice")
    names = {"practice-unit", "practice-secure", "practice-reboot"}
    practice = runpy.run_path(str(PROJECT / "molecule/patching/files/make_repository.py"), run_name="make_repository")
    known = [one for one in practice["PACKAGES"] if one.name in names and one.archive == "main" and one.stage <= 2]
    practice["make_stages"](made, known)
    bundle = made / "practice.tar"
    with tarfile.open(bundle, "w") as archive:
        for stage in made.glob("stage-*"):
            archive.add(stage, stage.name, filter=owned_by_root)
    try:
        for name in MACHINES:
            platform.copy_to(name, bundle, "/root/practice.tar")
            wanted = names if name == "tariffs-0" else names - {"practice-reboot"}
            platform.host(name).check_output(BRING % " ".join(sorted(wanted)))
        yield
    finally:
        for name in MACHINES:
            platform.host(name).run(TAKE_AWAY)


def owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.mode |= 0o755 if member.isdir() else 0o644
    return member


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


def patch(
    platform: PlatformUnderTest, evidence: Path, hosts: str, **variables: Any
) -> subprocess.CompletedProcess[str]:
    inventory = evidence / "inventory.json"
    inventory.write_text(json.dumps(platform.inventory))
    told = {"patching_hosts": hosts, "patching_evidence_directory": str(evidence / "patching"), **variables}
    command = [
        "ansible-playbook",
        f"--inventory={inventory}",
        f"--extra-vars={json.dumps(told)}",
        "playbooks/patch.yml",
    ]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = platform.environment | {"PATH": path, "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def read(evidence: Path, run: str, name: str) -> Any:
    return json.loads((evidence / "patching" / run / f"{name}.json").read_text())


def version(platform: PlatformUnderTest, name: str, package: str) -> str:
    return platform.host(name).check_output("dpkg-query --show --showformat='${Version}' %s", package)


def test_a_database_without_a_standby_is_left_alone_unless_its_downtime_is_allowed(platform, pending, evidence):
    assert patch(platform, evidence, "ledger", patching_run="alone").returncode != 0
    assert "has no standby that follows it (17/main)" in read(evidence, "alone", "ledger-0")["fault"]
    assert version(platform, "ledger-0", "practice-unit") == "1.0"


@pytest.fixture(scope="module")
def rollout(platform, pending, evidence):
    done = patch(
        platform,
        evidence,
        "vm_tier:kubernetes_nodes",
        patching_run="all",
        patching_batches=[1, "100%"],
        patching_allow_downtime=True,
        patching_requester="tests",
        patching_gate_checks=[{"url": f"{platform.outputs['app_url']}/readyz"}],
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return {name: read(evidence, "all", name) for name in MACHINES}


def test_every_machine_of_the_exported_inventory_is_patched(platform, rollout):
    versions = {"practice-secure": "1.2", "practice-unit": "1.1"}
    for name in MACHINES:
        there = versions | ({"practice-reboot": "1.1"} if name == "tariffs-0" else {})
        wanted = [{"name": package, "from": "1.0", "to": to} for package, to in sorted(there.items())]
        assert rollout[name]["result"] == "patched" and rollout[name]["changes"] == wanted
        process = platform.host(name).check_output("systemctl show --property=MainPID --value practice-unit")
        environment = platform.host(name).check_output("tr '\\0' '\\n' </proc/%s/environ", process)
        assert "RELEASE=1.1" in environment, f"on {name} the service runs on what has been replaced"


def test_only_who_needed_it_was_rebooted_and_everything_serves(platform, rollout):
    assert {name for name in MACHINES if rollout[name]["rebooted"]} == {"tariffs-0"}
    assert platform.request("/price?currency=EUR").status == 200
    (node,) = platform.objects("nodes")
    assert not node["spec"].get("unschedulable")
    assert any((one["type"], one["status"]) == ("Ready", "True") for one in node["status"]["conditions"])


def test_the_snapshot_hook_that_the_inventory_names_was_called(platform, rollout):
    for name in ("ledger-0", "tariffs-0"):
        assert (platform.machine_directory(name) / "snapshot").exists()


def test_the_report_learns_the_age_of_the_patches(rollout, evidence):
    assert set(read_evidence(evidence).patched) == set(MACHINES)
