"""A machine that is too small is told so before anything begins."""

from collections import namedtuple

import pytest

from infra import preflight

GIB = preflight.GIB
Usage = namedtuple("Usage", "free")


@pytest.fixture
def machine(monkeypatch):
    """Sets what the machine has; the requirements of the README where nothing is said."""

    def make(*, processors=2, memory=8.0, available=7.0, disk=20.0, built=False):
        monkeypatch.setattr(preflight.os, "sched_getaffinity", lambda _: set(range(processors)))
        monkeypatch.setattr(preflight, "memory", lambda: memory * GIB)
        monkeypatch.setattr(preflight, "available_memory", lambda: available * GIB)
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: Usage(disk * GIB))
        monkeypatch.setattr(preflight, "ready", lambda _: built)

    return make


def test_what_the_readme_asks_for_is_enough(machine, tmp_path):
    machine()
    assert preflight.shortages(tmp_path / "not there yet") == []


@pytest.mark.parametrize(
    ("has", "told"),
    [
        ({"processors": 1}, "1 processor; 2 are needed"),
        ({"memory": 3.9, "available": 3.0}, "3.9 GiB of memory; 8 GiB are needed"),
        ({"available": 1.5}, "1.5 GiB of memory is free; 4.0 GiB are needed"),
        ({"disk": 19.0}, "19.0 GiB free on the file system of"),
        ({"disk": 4.0, "built": True}, "4.0 GiB free on the file system of"),
    ],
)
def test_each_shortage_is_one_sentence_with_its_figures(machine, tmp_path, monkeypatch, has, told):
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path))
    machine(**has)
    (sentence,) = preflight.shortages(tmp_path / "not there yet")
    assert told in sentence


def test_a_later_run_needs_less_room(machine, tmp_path):
    machine(disk=6.0, built=True)
    assert preflight.shortages(tmp_path) == []
