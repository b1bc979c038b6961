"""A processor made of software gets more time, everywhere; a real one does not."""

import pytest

from infra.machines import patience as module
from infra.machines import qemu, seed
from infra.machines.accelerator import Accelerator
from infra.machines.patience import IN_SOFTWARE, SYSTEMD_WAITS, patience
from infra.machines.qemu import QemuDriver
from tests.unit.platform_data import machine


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
