"""What boot scripts do, by running them as the program renders them. The machine's commands are stand-ins that note how
they were called."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
from typing import Any

import pytest
import yaml
from recording import CHECKOUT, deploy
from shell import Machine

from policy.resources import Deployment


def user_data(deployed: Deployment, host: str) -> str:
    return base64.b64decode(deployed.one("ec2/launchTemplate", f"vm-{host}").props["userData"]).decode()


def document(deployed: Deployment, workload: str) -> str:
    content = json.loads(deployed.one("ssm/document", f"convergence-{workload}").props["content"])
    return "\n".join(content["mainSteps"][0]["inputs"]["runCommand"])


def first_boot(machine: Machine, script: str, *failing: str) -> list[str]:
    """The calls of a member's first boot, each step of which is a stand-in."""
    before, beginning, body = script.partition('say "first boot')
    assert beginning
    machine.run(before + machine.steps(*failing) + beginning + body)
    return machine.called


def library() -> str:
    return (CHECKOUT / "infra/targets/aws/boot/library.sh").read_text()


VOLUME = "Volume-vm-ledger-0-data"  # as mocks name it
ROLES_OF_THE_IMAGE = "play infra/targets/aws/boot/unsealed.yml"


def test_plain_debian_takes_the_roles_of_the_image_and_then_its_own(machine, prod):
    assert first_boot(machine, user_data(prod, "ledger-0")) == [
        "use_package_snapshot",
        "install_agents",
        "install_ansible",
        "attach_data_volume",
        "fetch_bundle",
        ROLES_OF_THE_IMAGE,
        "play playbooks/vm_tier.yml",
        "healthy",
        "finish CONTINUE",
        "report_patching",
    ]
    assert (machine.home / "member").read_text() == "ledger-0\n" and (machine.home / "patched").exists()


def test_a_golden_image_has_them_already(machine):
    def promote(config: dict[str, Any]) -> None:
        config["vm_tier"]["images"]["debian-13"]["golden"] = "ami-0123456789abcdef0"

    called = first_boot(machine, user_data(deploy("aws-prod", promote).deployment, "ledger-0"))
    assert ROLES_OF_THE_IMAGE not in called and called[-2:] == ["finish CONTINUE", "report_patching"]


def test_a_member_without_data_attaches_nothing(machine, prod):
    called = first_boot(machine, user_data(prod, "tariffs-0"))
    assert "attach_data_volume" not in called and "finish CONTINUE" in called


@pytest.mark.parametrize("failing", ["use_package_snapshot", "attach_data_volume", "fetch_bundle", "play", "healthy"])
def test_a_member_that_fails_abandons_its_launch_and_is_no_member(failing, machine, prod):
    called = first_boot(machine, user_data(prod, "ledger-0"), failing)
    assert called[-1] == "finish ABANDON" and called[-2].startswith(failing)
    assert "finish CONTINUE" not in called and not (machine.home / "member").exists()


def test_the_roles_that_plain_debian_takes_are_those_of_the_image():
    """But for what seals an image: a running machine keeps its identity."""

    def roles(playbook: str) -> list[tuple[str, str]]:
        (play,) = yaml.safe_load((CHECKOUT / playbook).read_text())
        imported = [
            task["ansible.builtin.import_role"] for task in play["tasks"] if "ansible.builtin.import_role" in task
        ]
        return [(role["name"], role.get("tasks_from", "")) for role in imported]

    image = roles("playbooks/golden_image.yml")
    assert roles("infra/targets/aws/boot/unsealed.yml") == [role for role in image if role[1] != "seal"] != image


# Steps of the library


@pytest.mark.parametrize(("listens", "code"), [(True, 0), (False, 1)])
def test_healthy_is_who_answers_on_each_port(listens, code, machine):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = [server.getsockname()[1] for server in (one, other)]
        if not listens:
            other.close()
        script = f"HYBRID_REGION=r HYBRID_PORTS='{ports[0]} {ports[1]}'\n{library()}\n"
        assert (
            machine.run(f"{script}metadata() {{ echo 127.0.0.1; }}\nif healthy; then exit 0; else exit 1; fi") == code
        )


@pytest.mark.parametrize("holder", ["i-me", "i-predecessor"])
def test_a_volume_is_attached_to_who_has_it_not(holder, machine, prod):
    before = user_data(prod, "ledger-0").partition('say "first boot')[0]
    machine.command("aws", f"[[ $2 != describe-volumes ]] || echo {holder}")
    machine.run(f"{before}metadata() {{ echo i-me; }}\nattached_here || true")
    asked, *attached = machine.called
    assert f"describe-volumes --volume-ids {VOLUME}" in asked
    wanted = f"aws ec2 attach-volume --volume-id {VOLUME} --instance-id i-me --device /dev/sdf"
    assert attached == ([] if holder == "i-me" else [wanted])


def test_a_volume_is_attached_then_made_then_mounted(machine, prod):
    before = (
        user_data(prod, "ledger-0").partition('say "first boot')[0].replace("/etc/fstab", str(machine.home / "fstab"))
    )
    (machine.home / "fstab").touch()
    for command in ("mountpoint", "mount", "resize2fs"):
        machine.command(command, "exit 1" if command == "mountpoint" else "")
    stand_ins = "".join(f"{step}() {{ resize2fs {step} $*; }}\n" for step in ("attached_here", "make_file_system_once"))
    script = (
        f"{before}\n{machine.steps().splitlines()[0]}\n{stand_ins}mkdir() {{ :; }}\ntest() {{ :; }}\nattach_data_volume"
    )
    assert machine.run(script) == 0
    device = f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{VOLUME.replace('-', '', 1)}"
    assert machine.called == [
        "resize2fs attached_here",
        f"resize2fs make_file_system_once {device}",
        "mountpoint --quiet /srv/data",
        "mount /srv/data",
        f"resize2fs {device}",
    ]
    (line,) = (machine.home / "fstab").read_text().splitlines()
    assert line.startswith(f"{device} /srv/data ext4 ") and "nofail" in line


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_bundle_is_unpacked_only_if_it_is_the_one_that_was_deployed(is_whole, machine, tmp_path):
    (tmp_path / "content").mkdir()
    (tmp_path / "content/ansible.cfg").write_text("[defaults]\n")
    subprocess.run(["tar", "-czf", tmp_path / "bundle.tar.gz", "-C", tmp_path / "content", "."], check=True)
    digest = hashlib.sha256((tmp_path / "bundle.tar.gz").read_bytes() if is_whole else b"another").hexdigest()
    machine.command("aws", f'[[ $1 == ssm ]] && echo {digest} || cp {tmp_path}/bundle.tar.gz "${{@: -1}}"')
    code = machine.run(f"HYBRID_REGION=r HYBRID_PATH=/p HYBRID_BUCKET=b\n{library()}\nfetch_bundle")
    assert (code == 0) is is_whole is (machine.home / "bundle/ansible.cfg").exists()


@pytest.mark.parametrize("code", [0, 1])
def test_passwords_are_handed_to_the_play_and_stay_nowhere_even_if_it_fails(code, machine, tmp_path):
    seen = tmp_path / "seen.json"
    given = machine.run_directory / "variables.json"
    (machine.home / "bundle").mkdir()
    machine.program(machine.home / "ansible/bin/ansible-playbook", f"cp {given} {seen}; exit {code}")
    stand_ins = "aws() { :; }\npasswords() { echo '{\"postgresql_users\": []}'; }\npublish_authority() { :; }\n"
    settings = "HYBRID_REGION=r HYBRID_BUCKET=b HYBRID_WORKLOAD=ledger HYBRID_MEMBER=ledger-0\n"
    assert machine.run(f"{settings}{library()}\n{stand_ins}play playbooks/vm_tier.yml") == code
    assert json.loads(seen.read_text()) == {"postgresql_users": []}
    assert not given.exists()


# Builds of images


def test_a_build_makes_the_image_of_the_bundle(machine, prod):
    data = yaml.safe_load(prod.one("imagebuilder/component", "images-debian-13-build").props["data"])
    (script,) = data["phases"][0]["steps"][0]["inputs"]["commands"]
    before, beginning, body = script.rpartition("\nuse_package_snapshot\n")
    playbook = machine.home / "ansible/bin/ansible-playbook"
    playbook.parent.mkdir(parents=True)
    (machine.home / "bundle").mkdir()
    machine.command("ansible-playbook")
    playbook.symlink_to(machine.programs / "ansible-playbook")
    assert machine.run(before + "\n" + machine.steps() + beginning + body) == 0
    *steps, played = machine.called
    assert steps == ["use_package_snapshot", "install_agents", "install_ansible", "fetch_bundle"]
    assert " playbooks/golden_image.yml " in played and "golden_image_release=debian-13" in played
    assert "169.254.169.123" in played, "the tier has no way to any other clock"
    assert not (machine.home / "bundle").exists()


# What SSM runs


def converge(machine: Machine, deployed: Deployment, playbook: str, needs_reboot: bool, *failing: str) -> int:
    script = document(deployed, "ledger").replace("{{ Playbook }}", playbook)
    before, beginning, body = script.partition("\nif [[ ! -e ")
    assert beginning
    stand_ins = f"needs_reboot() {{ {str(needs_reboot).lower()}; }}\n"
    return machine.run(before + "\n" + machine.steps(*failing) + stand_ins + beginning + body)


@pytest.mark.parametrize(
    ("playbook", "needs_reboot", "code", "patched"),
    [
        ("playbooks/vm_tier.yml", True, 0, False),
        ("playbooks/patch.yml", False, 0, True),
        ("playbooks/patch.yml", True, 194, False),
    ],
)
def test_only_a_window_reboots_and_only_a_window_that_ended_counts(
    playbook, needs_reboot, code, patched, machine, prod
):
    """194 makes SSM reboot the machine and run the script again, which then finds nothing to reboot for."""
    (machine.home / "member").write_text("ledger-0\n")
    assert converge(machine, prod, playbook, needs_reboot) == code
    assert machine.called[:2] == ["fetch_bundle", f"play {playbook}"]
    assert ("report_patching" in machine.called) is (code == 0) and (machine.home / "patched").exists() is patched


def test_a_member_that_is_not_well_after_its_patches_was_not_patched(machine, prod):
    (machine.home / "member").write_text("ledger-0\n")
    assert converge(machine, prod, "playbooks/patch.yml", False, "healthy") != 0
    assert machine.called[-1] == "healthy" and not (machine.home / "patched").exists()


def test_a_member_whose_first_boot_is_not_over_is_left_alone(machine, prod):
    assert converge(machine, prod, "playbooks/patch.yml", True) == 0 and machine.called == []
