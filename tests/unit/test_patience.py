"""A processor made of software gets more time, everywhere; a real one does not."""

import ipaddress

import pytest
import yaml

from infra.machines import patience as module
from infra.machines import qemu, seed
from infra.machines.accelerator import Accelerator
from infra.machines.patience import IN_SOFTWARE, SYSTEMD_WAITS, patience
from infra.machines.qemu import QemuDriver
from infra.machines.state import PROJECT, State
from infra.placement import place
from infra.spec import load_spec
from infra.targets.local.context import Context, machine_names
from tests.platform.conftest import PlatformUnderTest
from tests.unit.platform_data import machine, outputs


def vm(directory):
    image = directory / "image/root/etc"
    image.mkdir(parents=True)
    (image / "fstab").write_text("/dev/vda / ext4 rw 0 1\n")
    return machine("qemu", image=str(directory / "image"), data_disk="/data.ext4")


@pytest.fixture(params=["kvm", "tcg"])
def factor(request, monkeypatch):
    for where in (module, qemu):
        monkeypatch.setattr(where, "accelerator", lambda: Accelerator(request.param))
    monkeypatch.setattr(seed, "make_key", lambda path, comment: path.with_suffix(".pub").write_text(""))
    return IN_SOFTWARE if request.param == "tcg" else 1


def test_only_virtual_machines_in_software_are_waited_for_longer(factor):
    assert patience("qemu") == factor
    assert patience("nspawn") == 1


def test_a_slow_machine_does_not_take_its_own_disk_for_lost(factor, tmp_path):
    config = vm(tmp_path)
    seed.prepare_seed(config, tmp_path, "key")
    options = (tmp_path / "seed/etc/fstab").read_text().splitlines()[-1].split()[3]
    assert f"x-systemd.device-timeout={SYSTEMD_WAITS * factor}" in options.split(",")
    arguments = QemuDriver(config, tmp_path)._kernel_arguments()
    waits = [argument for argument in arguments if argument.startswith("systemd.default_")]
    assert [wait.partition("=")[2] for wait in waits] == ([str(SYSTEMD_WAITS * factor)] * 2 if factor > 1 else [])


@pytest.mark.parametrize("driver", ["qemu", "nspawn"])
def test_the_tests_of_a_platform_wait_as_long_as_its_own_driver_needs(factor, driver, tmp_path):
    under_test = PlatformUnderTest(tmp_path)
    under_test.outputs = outputs(driver)
    assert under_test.limit(3) == 3 * (factor if driver == "qemu" else 1)


def test_patches_of_a_slow_machine_are_waited_for_as_the_exported_inventory_says(tmp_path):
    usual = yaml.safe_load((PROJECT / "roles/patching/defaults/main.yml").read_text())
    plan = place(load_spec(str(PROJECT / "platform.yaml")))
    context = Context(
        plan=plan,
        state=State(tmp_path),
        subnet=ipaddress.IPv4Network("10.100.0.0/24"),
        addresses=dict.fromkeys(machine_names(plan), "10.100.0.10"),
        driver="qemu",
        patience=IN_SOFTWARE,
        network=None,
        ssh_key=None,
    )
    told = context.inventory().to_ansible()["all"]["vars"]
    assert told == {name: value * IN_SOFTWARE for name, value in usual.items() if name.endswith("_timeout")}
