"""Disks of machines, as real files with real file systems: they grow, and nobody else on the host reads them."""

import stat

import pytest

from infra.machines import disk
from infra.machines.host import run
from infra.targets.local import data_disk, machine
from tests.unit import platform_data

MIB = 2**20


@pytest.fixture
def file(tmp_path):
    """A data disk of 8 MiB that a machine has used since it was made."""
    data_disk.create({"path": str(tmp_path / "data/ledger-0.ext4"), "size": 8 * MIB})
    file = tmp_path / "data/ledger-0.ext4"
    run("debugfs", "-w", "-R", "set_super_value mtime now", str(file))
    run("debugfs", "-w", "-R", "set_super_value lastcheck 20200101", str(file))
    run("debugfs", "-w", "-R", "mkdir kept", str(file))
    return file


def test_a_disk_that_was_made_larger_is_larger_for_the_machine_that_starts_next(file):
    data_disk.update({"path": str(file), "size": 64 * MIB}, {})
    assert disk._size(file) == 8 * MIB, "a machine may have it mounted"
    disk.fill(file)
    assert disk._size(file) == file.stat().st_size == 64 * MIB
    assert "kept" in run("debugfs", "-R", "ls -p /", str(file))
    run("e2fsck", "-fn", str(file))


def test_a_disk_that_has_not_grown_is_left_alone(file, monkeypatch):
    before = file.read_bytes()
    disk.fill(file)
    assert file.read_bytes() == before


def test_only_root_reads_a_data_disk(file):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("driver", "changed", "restarts"),
    [
        ("nspawn", "data_disk_size", True),
        ("qemu", "data_disk_size", True),
        ("nspawn", "memory", False),
        ("qemu", "memory", True),
    ],
)
def test_a_machine_restarts_for_what_it_can_only_take_when_it_starts(monkeypatch, tmp_path, driver, changed, restarts):
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path))
    config = platform_data.machine(driver)
    directory = tmp_path / "machines/ledger-0"
    directory.mkdir(parents=True)
    config.write(directory)
    done = []
    monkeypatch.setattr(machine.supervisor, "stop", lambda _: done.append("stopped"))
    monkeypatch.setattr(machine, "start", lambda *_: done.append("started"))
    monkeypatch.setattr(machine, "_host_key", lambda _: "")
    old = vars(config) | {"data_disk_size": 1}
    machine.update(old | {changed: 2 * old[changed]}, old)
    assert done == (["stopped", "started"] if restarts else ["started"])
