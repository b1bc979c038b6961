"""The same image as a real virtual machine: by KVM where stock kernels boot under it, else in software."""

import os

import pytest
import testinfra

from infra.machines import supervisor
from infra.targets.local import machine

NAME = "vm-0"


@pytest.fixture(scope="module")
def vm(platform, monkeypatch_session):
    monkeypatch_session.setenv("HYBRID_PLATFORM_STATE", str(platform.state))
    model = next(r for r in platform.resources() if r["urn"].endswith("::tariffs-0"))["outputs"]
    subnet = model["address"].rpartition(".")[0]
    inputs = model | {"name": NAME, "driver": "qemu", "address": f"{subnet}.9/24", "memory": 512 * 2**20}
    machine.create(inputs)
    try:
        known_hosts = platform.state / "ssh" / "known_hosts" / NAME
        yield testinfra.get_host(
            f"ssh://root@{subnet}.9",
            ssh_identity_file=str(platform.state / "ssh" / "id_ed25519"),
            ssh_extra_args=f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes -o LogLevel=ERROR",
        )
    finally:
        supervisor.stop(platform.machine_directory(NAME))
        machine.delete({"name": NAME, "instance_id": machine.instance(NAME)})


def test_it_runs_the_kernel_that_is_installed_in_it(vm):
    running = vm.check_output("uname -r")
    assert vm.file(f"/boot/vmlinuz-{running}").exists
    assert running != os.uname().release
    assert vm.check_output("systemd-detect-virt") in ("kvm", "qemu")


def test_it_is_the_same_machine_as_its_stand_in(vm, platform):
    stand_in = platform.host("tariffs-0")
    for question in ("cat /etc/os-release", "dpkg-query --show systemd openssh-server python3", "sshd -T | sort"):
        assert vm.check_output(question) == stand_in.check_output(question)
    assert vm.check_output("systemctl list-units --state=failed --no-legend --plain") == ""


def test_it_has_an_identity_of_its_own(vm, platform):
    for identity in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert vm.file(identity).content_string != platform.host("tariffs-0").file(identity).content_string
    assert vm.check_output("hostname") == NAME
