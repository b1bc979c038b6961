"""Machines are limited on hosts without systemd, with either version of control groups, or not run at all."""

import pytest

from infra.machines import cgroup
from infra.machines.cgroup import ControlGroup

GIB = 2**30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "ROOT", tmp_path)
    return tmp_path


def fill(directory, **files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)


def test_with_version_2_the_machine_gets_the_controllers_that_its_limits_need(groups):
    fill(groups, cgroup__controllers="cpu memory pids", cgroup__subtree_control="")
    # What the kernel makes, a plain directory does not.
    fill(groups / "m", cgroup__controllers="cpu memory pids", cgroup__subtree_control="")
    group = ControlGroup("m")
    group.create()
    for above in (groups, groups / "m"):
        assert (above / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    fill(groups / "m", memory__max="max", cpu__max="max 100000")
    group.limit(GIB, 1.5)
    assert (groups / "m/memory.max").read_text() == str(GIB)
    assert (groups / "m/cpu.max").read_text() == "150000 100000"


def test_with_version_1_each_hierarchy_gets_what_is_its_own(groups):
    for hierarchy in ("cpu", "memory", "pids"):
        fill(groups / hierarchy, cgroup__procs="")
    group = ControlGroup("m")
    group.create()
    fill(groups / "memory/m", memory__limit_in_bytes="")
    fill(groups / "cpu/m", cpu__cfs_quota_us="")
    group.limit(GIB, 0.5)
    assert (groups / "memory/m/memory.limit_in_bytes").read_text() == str(GIB)
    assert (groups / "cpu/m/cpu.cfs_quota_us").read_text() == "50000"


def test_a_machine_that_cannot_be_limited_is_refused(groups):
    fill(groups, cgroup__controllers="pids", cgroup__subtree_control="")
    group = ControlGroup("m")
    group.create()
    with pytest.raises(RuntimeError, match="cannot limit machines"):
        group.limit(GIB, 1)


@pytest.mark.parametrize(
    ("hierarchy", "file", "frozen", "running"),
    [("freezer", "freezer.state", "FROZEN\n", "THAWED\n"), ("", "cgroup.freeze", "1\n", "0\n")],
)
def test_a_machine_that_somebody_has_frozen_is_told_from_one_that_runs(groups, hierarchy, file, frozen, running):
    fill(groups / hierarchy, **{"cgroup__procs" if hierarchy else "cgroup__controllers": ""})
    group = ControlGroup("m")
    group.create()
    for text, still in ((frozen, True), (running, False)):
        (groups / hierarchy / "m" / file).write_text(text)
        assert group.is_frozen() is still
