"""The same image as a real virtual machine: by KVM where stock kernels boot under it, else in software."""

import os
import subprocess
import sys

import pytest
import testinfra

from infra.machines import supervisor
from infra.machines.config import MachineConfig
from infra.machines.patience import patience
from infra.machines.state import PROJECT, State
from infra.targets.local import machine
from infra.targets.local.context import key_path

NAME = "vm-0"
SUITE = PROJECT / "molecule/default/tests"


@pytest.fixture(scope="module")
def vm(platform, monkeypatch_session):
    """A virtual machine of the image that tariffs-0 started from; the tests of this file log in to both."""
    monkeypatch_session.setenv("HYBRID_PLATFORM_STATE", str(platform.state))
    model = next(r for r in platform.resources() if r["urn"].endswith("::tariffs-0"))["outputs"]
    subnet = model["address"].rpartition(".")[0]
    inputs = model | {"name": NAME, "driver": "qemu", "address": f"{subnet}.9/24", "memory": 512 * 2**20}
    machine.create(inputs)
    try:
        yield testinfra.get_host(login(NAME), ssh_config=str(ssh_config(platform)))
    finally:
        supervisor.stop(platform.machine_directory(NAME))
        machine.delete({"name": NAME, "instance_id": machine.instance(NAME)})


def login(name):
    """For testinfra; this machine is a virtual one, whatever those of the platform are."""
    return f"ssh://{name}?timeout={10 * patience('qemu')}"


def ssh_config(platform):
    hosts = {"tariffs-0": platform.inventory["all"]["hosts"]["tariffs-0"]}
    address = MachineConfig.read(platform.machine_directory(NAME)).address.partition("/")[0]
    state = State(platform.state)
    hosts[NAME] = {"ansible_host": address} | machine.connection(state, key_path(state), NAME)
    return platform.ssh_config_for(hosts, "config-virtual-machine")


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


@pytest.mark.parametrize("name", [NAME, "tariffs-0"])
def test_both_pass_the_suite_of_a_hardened_machine(vm, platform, name):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(SUITE)]
    command += [f"--hosts={login(name)}", f"--ssh-config={ssh_config(platform)}"]
    # It looks for the journal of an earlier boot, and a new machine has none.
    command += [f"--deselect={SUITE.relative_to(PROJECT)}/test_hardened.py::test_the_journal_is_kept"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]


def test_it_has_an_identity_of_its_own(vm, platform):
    for identity in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert vm.file(identity).content_string != platform.host("tariffs-0").file(identity).content_string
    assert vm.check_output("hostname") == NAME
