"""The probe boots a kernel, not the package that only names one."""

import shutil
from pathlib import Path

import pytest

from infra.machines import accelerator
from infra.machines.host import CommandError

DEPENDS = """linux-image-cloud-amd64
  Depends: linux-image-6.1.0-56-cloud-amd64
"""


def test_the_kernel_is_in_the_package_that_the_metapackage_depends_on():
    assert accelerator._kernel_package(DEPENDS) == "linux-image-6.1.0-56-cloud-amd64"


def test_a_metapackage_that_apt_does_not_know_names_no_kernel():
    with pytest.raises(StopIteration):
        accelerator._kernel_package("linux-image-cloud-amd64\n")


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host with /dev/kvm; returns what was remembered of it."""
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path))
    monkeypatch.setattr(accelerator, "KVM", tmp_path)
    return lambda: (tmp_path / "accelerator.json").exists()


def cannot_be_asked():
    raise CommandError("`apt-get download` exited with 100: no network")


def test_a_probe_that_could_not_be_made_is_made_again(host, monkeypatch):
    monkeypatch.setattr(accelerator, "_probe_guest_boots", cannot_be_asked)
    assert not accelerator.accelerator().is_hardware
    assert not host()
    monkeypatch.setattr(accelerator, "_probe_guest_boots", lambda: True)
    assert accelerator.accelerator().is_hardware


@pytest.mark.parametrize("boots", [True, False])
def test_what_a_probe_has_shown_is_remembered_for_this_boot(host, monkeypatch, boots):
    monkeypatch.setattr(accelerator, "_probe_guest_boots", lambda: boots)
    assert accelerator.accelerator().is_hardware is boots
    assert host()
    monkeypatch.setattr(accelerator, "_probe_guest_boots", cannot_be_asked)
    assert accelerator.accelerator().is_hardware is boots


def test_a_kernel_that_was_half_copied_is_not_taken_for_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(accelerator, "_own_kernel", lambda: tmp_path / "none")

    def run(*command):
        if command[0] == "apt-get" or "apt-get" in command:
            (Path(command[1].removeprefix("--chdir=")) / "linux.deb").touch()
        if command[0] == "dpkg-deb":
            boot = Path(command[-1], "boot")
            boot.mkdir(parents=True)
            (boot / "vmlinuz-6.1").write_text("kernel")
        if command[0] == "cp":
            Path(command[2]).write_text("ker")
            raise CommandError("`cp` was killed")
        return DEPENDS

    monkeypatch.setattr(accelerator, "run", run)
    with pytest.raises(CommandError):
        accelerator._stock_kernel()
    monkeypatch.setattr(accelerator, "run", lambda *c: shutil.copy(*c[1:]) if c[0] == "cp" else run(*c))
    assert accelerator._stock_kernel().read_text() == "kernel"
