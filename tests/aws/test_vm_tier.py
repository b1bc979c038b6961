"""The VM tier: what a member keeps, what it may do, and how its root is replaced."""

import base64
import json
import re
import shlex
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from recording import deploy
from shell import check_shell

from infra.placement import Runtime
from infra.targets.aws.boot import HERE


def members(plan) -> dict[str, str]:
    """Host and workload of every member that platform.yaml asks for."""
    return {f"{name}-{n}": name for name, workload in plan.on(Runtime.VM).items() for n in range(workload.replicas)}


def user_data(deployed, host: str) -> str:
    return base64.b64decode(deployed.one("ec2/launchTemplate", f"vm-{host}").props["userData"]).decode()


def test_every_member_has_interface_template_and_a_group_of_one(deployed, plan):
    assert members(plan)
    for host in members(plan):
        group = deployed.one("autoscaling/group", f"vm-{host}").props
        assert (group["minSize"], group["desiredCapacity"], group["maxSize"]) == (1, 1, 1)
        template = deployed.one("ec2/launchTemplate", f"vm-{host}").props
        (attached,) = template["networkInterfaces"]
        assert attached == {"deviceIndex": 0, "networkInterfaceId": f"NetworkInterface-vm-{host}"}
        interface = deployed.one("ec2/networkInterface", f"vm-{host}").props
        zone = deployed.one("ec2/subnet", interface["subnetId"].removeprefix("Subnet-")).props["availabilityZone"]
        assert group["availabilityZones"] == [zone]


def test_stateful_workloads_keep_data_on_an_encrypted_volume_in_the_members_zone(deployed, plan):
    stateful = [name for name, workload in plan.on(Runtime.VM).items() if workload.stateful]
    assert stateful
    for host, workload in members(plan).items():
        volumes = [v for v in deployed.of("ebs/volume") if v.tags["hybrid:member"] == host]
        assert len(volumes) == (1 if workload in stateful else 0)
        for volume in volumes:
            assert volume.props["encrypted"] and volume.props["type"] == "gp3" and volume.props["kmsKeyId"]
            # To the whole GiB above, which is all that a volume can be.
            assert 0 <= volume.props["size"] * 2**30 - plan.spec.workloads[workload].resources.disk < 2**30
            group = deployed.one("autoscaling/group", f"vm-{host}").props
            assert [volume.props["availabilityZone"]] == group["availabilityZones"]
            assert volume.name.removesuffix("-data").endswith(host)
            assert f"HYBRID_VOLUME=Volume-{volume.name}" in user_data(deployed, host)


def test_machines_do_not_hold_a_volume_that_a_root_takes_along(deployed):
    for template in deployed.of("ec2/launchTemplate"):
        (root,) = template.props["blockDeviceMappings"]
        assert root["ebs"]["encrypted"] == "true" and root["ebs"]["deleteOnTermination"] == "true"


def test_sizes_hold_what_the_workload_asks_for(deployed, plan):
    from infra.targets.aws.sizes import TYPES

    for host, workload in members(plan).items():
        cpus, gib = TYPES[deployed.one("ec2/launchTemplate", f"vm-{host}").props["instanceType"]]
        wanted = plan.spec.workloads[workload].resources
        assert cpus >= wanted.cpu and gib * 2**30 > wanted.memory


def test_user_data_is_a_shell_script_that_shellcheck_likes(deployed, plan):
    for host in members(plan):
        assert user_data(deployed, host).startswith("#!/bin/bash\n")
        check_shell(user_data(deployed, host))


def function_of(script: str, name: str) -> str:
    """One function of a boot script, to be run by itself."""
    return re.search(rf"^{name}\(\) {{\n.*?^}}\n", (HERE / script).read_text(), re.M | re.S)[0]


def test_a_file_system_is_made_on_a_new_volume_and_never_again(tmp_path):
    """Files stand in for volumes; what matters is what happens to the bytes."""
    code = f"set -Eeuo pipefail\n{function_of('member.sh', 'make_file_system_once')}\nmake_file_system_once "

    def boot(volume: Path) -> None:
        subprocess.run(["bash", "-c", code + shlex.quote(str(volume))], check=True)

    new = tmp_path / "new"
    new.write_bytes(bytes(16 * 2**20))
    boot(new)
    made = new.read_bytes()
    assert b"data" in made[:4096] and any(made)
    boot(new)
    assert new.read_bytes() == made, "the second root made the file system anew"
    strange = tmp_path / "strange"  # no file system that blkid knows, and data all the same
    strange.write_bytes(bytes(2**20) + b"a ledger" + bytes(15 * 2**20))
    boot(strange)
    assert b"a ledger" in strange.read_bytes()
    boot(tmp_path / "cannot be read")
    assert not (tmp_path / "cannot be read").exists()


def test_apt_asks_the_snapshot_for_nothing_that_is_not_in_it(deployed):
    """S3 answers 403 to what is not there, and apt takes that for a failure where it would forgive a 404."""
    text = user_data(deployed, "ledger-0")
    languages, update = text.index('Acquire::Languages "none"'), text.index("apt-get -qq --option APT::Update")
    assert languages < update
    assert 'DPkg::Lock::Timeout "600"' in text, "an update of Debian's own timers would end the first boot"
    before = text[:update].split("use_package_snapshot() {")[1]
    assert "curl " not in before, "plain Debian need not have it"


@pytest.mark.parametrize("works", [True, False])
def test_a_sandboxed_node_without_gvisor_turns_itself_off(works, tmp_path):
    """EKS starts the kubelet whether user data succeeded or not."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "curl": f"exit {0 if works else 22}",
        "sha512sum": "exit 0",
        "chmod": "exit 0",
        "poweroff": f"touch {tmp_path}/off",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    run = subprocess.run(
        ["bash", HERE / "sandbox.sh"], env={"PATH": f"{programs}:/usr/bin:/bin", "HYBRID_PACKAGES": "https://packages"}
    )
    assert (run.returncode == 0, (tmp_path / "off").exists()) == (works, not works)


def test_user_data_holds_no_secret(deployed, plan):
    """It is stored in clear: names of secrets are welcome in it, values are not."""
    for host in members(plan):
        text = user_data(deployed, host)
        assert not any(word in text.lower() for word in ("begin private key", "aws_secret_access_key", "password="))


def test_passwords_have_a_place_and_their_values_are_not_in_pulumis_state(deployed, plan):
    """Who is called by password has a secret that its own role may fill, and nobody else's role can read but the
    operator's."""
    databases = [name for name in plan.spec.workloads if plan.spec.workloads[name].package == "postgresql"]
    assert databases
    assert {s.tags["hybrid:workload"] for s in deployed.of("secretsmanager/secret")} == set(databases)
    assert not deployed.of("secretsmanager/secretVersion")
    readers = {
        policy.name
        for policy in deployed.of("iam/rolePolicy")
        for statement in json.loads(policy.props["policy"])["Statement"]
        if "secretsmanager:GetSecretValue" in statement["Action"]
    }
    assert readers == {*(f"vm-{name}" for name in databases), "jobs-operator"}


def test_a_member_joins_only_after_its_health_gate(deployed, plan):
    for host in members(plan):
        group = deployed.one("autoscaling/group", f"vm-{host}").props
        (hook,) = group["initialLifecycleHooks"]
        assert hook["lifecycleTransition"] == "autoscaling:EC2_INSTANCE_LAUNCHING"
        assert hook["defaultResult"] == "ABANDON"
        text = user_data(deployed, host)
        assert f"--lifecycle-hook-name {hook['name']} " in text
        assert text.index("try 600 healthy\n") < text.index("finish CONTINUE")
        ports = " ".join(str(p) for p in plan.spec.workloads[members(plan)[host]].ports)
        assert f"HYBRID_PORTS={ports}" in text


@pytest.fixture(scope="module")
def three_replicas(tmp_path_factory):
    from recording import CHECKOUT

    text = (CHECKOUT / "platform.yaml").read_text()
    assert "    stateful: true\n" in text
    spec = tmp_path_factory.mktemp("spec") / "platform.yaml"
    spec.write_text(text.replace("    stateful: true\n", "    stateful: true\n    replicas: 3\n", 1))
    return lambda edit=None: deploy("aws-prod", edit, spec).deployment


def test_members_are_rolled_one_after_the_other_over_the_zones(three_replicas):
    deployed = three_replicas()
    groups = [deployed.one("autoscaling/group", f"vm-ledger-{n}") for n in range(3)]
    for earlier, later in pairwise(groups):
        assert earlier.urn in later.depends_on and later.urn not in earlier.depends_on
    assert all(group.delete_before_replace for group in groups)
    assert len({group.props["availabilityZones"][0] for group in groups}) == 3


def names(deployed) -> dict[str, str]:
    return {g.name: g.props["name"] for g in deployed.of("autoscaling/group")}


def test_only_a_promotion_replaces_roots(prod):
    """A group's name is what replaces it. The pin of one release moves the members of that release, and no others."""

    def promote(config):
        config["vm_tier"]["images"]["debian-13"]["golden"] = "ami-0123456789abcdef0"

    promoted = deploy("aws-prod", promote).deployment
    assert {name for name in names(prod) if names(prod)[name] != names(promoted)[name]} == {"vm-ledger-0"}
    assert promoted.one("ec2/launchTemplate", "vm-ledger-0").props["imageId"] == "ami-0123456789abcdef0"
    assert "HYBRID_GOLDEN=yes" in user_data(promoted, "ledger-0")
    # Data and address stay: neither depends on the image.
    for kind, name in (("ebs/volume", "vm-ledger-0-data"), ("ec2/networkInterface", "vm-ledger-0")):
        assert prod.one(kind, name).props == promoted.one(kind, name).props


def test_a_member_that_moves_to_another_zone_gets_a_new_root_and_the_others_keep_theirs(prod):
    """Its interface and volume cannot move, and the old root holds the interface: it has to go first."""

    def move(config):
        config["zones"] = ["eu-central-1c", "eu-central-1b", "eu-central-1a"]

    moved = deploy("aws-prod", move).deployment
    assert (
        prod.one("ec2/networkInterface", "vm-ledger-0").props != moved.one("ec2/networkInterface", "vm-ledger-0").props
    )
    assert names(prod)["vm-ledger-0"] != names(moved)["vm-ledger-0"]
    add_one = deploy("aws-dev", lambda config: config["zones"].append("eu-central-1c")).deployment
    assert names(add_one) == names(deploy("aws-dev").deployment)


def test_an_edited_role_replaces_no_root(prod):
    """The bundle's digest is nowhere in what makes a root; machines read it from a parameter."""
    digest = prod.one("ssm/parameter", "artifacts-bundle").props["value"]
    for kind in ("ec2/launchTemplate", "autoscaling/group"):
        for resource in prod.of(kind):
            text = json.dumps(resource.props)
            assert digest not in text
            if "userData" in resource.props:
                assert digest not in base64.b64decode(resource.props["userData"]).decode()


def test_alarms_page_when_a_member_is_lost(deployed, plan):
    for host in members(plan):
        alarms = [
            alarm.props
            for alarm in deployed.of("cloudwatch/metricAlarm")
            if alarm.props.get("dimensions", {}).get("AutoScalingGroupName") == names(deployed)[f"vm-{host}"]
        ]
        assert {alarm["metricName"] for alarm in alarms} == {"GroupInServiceInstances", "StatusCheckFailed"}
        for alarm in alarms:
            assert alarm["alarmActions"] == alarm["okActions"] != []
        # A group publishes what it is told to; an alarm on anything else hears nothing.
        group = deployed.one("autoscaling/group", f"vm-{host}").props
        assert "GroupInServiceInstances" in group["enabledMetrics"]


def test_a_machine_on_a_broken_host_is_recovered_before_its_group_replaces_it(deployed, plan):
    for host in members(plan):
        template = deployed.one("ec2/launchTemplate", f"vm-{host}").props
        assert template["maintenanceOptions"] == {"autoRecovery": "default"}
        group = deployed.one("autoscaling/group", f"vm-{host}").props
        assert (group["healthCheckType"], group["healthCheckGracePeriod"]) == ("EC2", 300)


def test_tags_reach_what_is_launched(deployed, plan):
    for host, workload in members(plan).items():
        wanted = {
            "hybrid:workload": workload,
            "hybrid:runtime": "vm",
            "hybrid:member": host,
            "hybrid:platform": "reference",
        }
        for spec in deployed.one("ec2/launchTemplate", f"vm-{host}").props["tagSpecifications"]:
            assert wanted.items() <= spec["tags"].items()
        group = deployed.one("autoscaling/group", f"vm-{host}").props
        assert wanted.items() <= {t["key"]: t["value"] for t in group["tags"] if t["propagateAtLaunch"]}.items()


def test_production_protects_data_and_development_can_be_destroyed(prod, dev):
    assert all(volume.protect and volume.props["finalSnapshot"] for volume in prod.of("ebs/volume"))
    assert not any(resource.protect for resource in dev)


def test_members_have_names(deployed, plan):
    names_ = {record.props["name"]: record.props["records"] for record in deployed.of("route53/record")}
    for host, workload in members(plan).items():
        (address,) = names_[f"{host}.reference.internal"]
        assert address in names_[f"{workload}.reference.internal"]
