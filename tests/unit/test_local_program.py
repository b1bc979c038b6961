"""The local program as a whole, under Pulumi's mocks: what it asks for, and what it refuses before anything is made."""

import asyncio
import gc
import os
import runpy
from functools import partial
from pathlib import Path

import pulumi
import pytest
from pulumi.runtime import mocks, settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_pulumi_func

from infra.machines.state import State
from infra.targets.local import cluster

PLATFORM = Path(__file__).parents[2] / "platform.yaml"
MIB = 2**20


class Recorder(mocks.Mocks):
    def __init__(self):
        self.inputs = {}

    def new_resource(self, args):
        if "__provider" in args.inputs:
            assert args.name not in self.inputs, f"two resources are called {args.name}"
            self.inputs[args.name] = args.inputs
        programs = {"references": dict.fromkeys(args.inputs.get("programs", ()), "image"), "archives": []}
        machine = {"instance_id": "1", "started_from": "image"}
        return args.name, args.inputs | machine | {"owner": "1", "value": args.name} | programs

    def call(self, args):
        return {}


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path / "state"))
    return State(tmp_path / "state")


@pytest.fixture
def deploy(state, tmp_path):
    """Deploys the reference platform with parts of its text replaced; returns the inputs of each resource by name."""

    def run(*replacements):
        text = PLATFORM.read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "platform.yaml").write_text(text)
        recorder = Recorder()
        # One event loop and one root a deployment: Pulumi leaves tasks and the stack behind in the old ones.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        settings.set_root_resource(None)
        mocks.set_mocks(recorder, project="hybrid-platform", stack="local", preview=False)
        set_all_config(
            {
                "hybrid-platform:target": "local",
                "hybrid-platform:machine_driver": "nspawn",
                "hybrid-platform:spec": str(tmp_path / "platform.yaml"),
            }
        )
        try:
            program = partial(runpy.run_path, str(PLATFORM.with_name("__main__.py")), run_name="__main__")
            loop.run_until_complete(run_pulumi_func(program))
        finally:
            loop.close()
            asyncio.set_event_loop(None)
            gc.enable()
        return recorder.inputs

    return run


def disk(state, machine, size):
    file = state.data_disk(machine)
    file.parent.mkdir(parents=True)
    file.touch()
    os.truncate(file, size)
    return file


def test_a_machine_is_told_the_size_of_its_disk_and_so_restarts_with_it(deploy):
    made = deploy(("disk: 2GiB", "disk: 3GiB"))
    assert made["ledger-0-data"]["size"] == made["ledger-0"]["data_disk_size"] == 3072 * MIB
    assert made["cluster-0-data"]["size"] == made["cluster-0"]["data_disk_size"]
    assert made["cluster-0"]["data_disk_size"] in made["cluster-configuration"]["triggers"]


def test_a_workload_that_goes_leaves_the_clusters_disk_as_large_as_it_is(deploy, state):
    had = disk(state, "cluster-0", 4096 * MIB).stat().st_size
    assert deploy()["cluster-0-data"]["size"] == had
    assert deploy(("disk: 256MiB", "disk: 8GiB"))["cluster-0-data"]["size"] == 8192 * MIB + cluster.FILE_SYSTEM_OWN


def test_a_disk_of_a_virtual_machine_that_would_shrink_is_refused_by_its_line(deploy, state):
    disk(state, "ledger-0", 4096 * MIB)
    with pytest.raises(
        pulumi.RunError, match=r"platform.yaml:\d+: workloads.ledger.resources.disk: 2048MiB is less than the 4096"
    ):
        deploy()


def test_each_caller_of_each_database_has_a_password_of_its_own(deploy):
    hard, loose = (
        f"{{isolation: {level}, team_maturity: low, compliance: none, deploy_frequency: rarely, multi_os: false, "
        "orchestration_tolerance: low}"
        for level in ("hard", "low")
    )
    database = f"{{package: postgresql, ports: [5432], checklist: {hard}}}"
    workloads = {
        "archive": database,
        "ledger-archive": database,
        "web": f"{{image: web, talks_to: [ledger-archive], checklist: {loose}}}",
        "web-ledger": f"{{image: web, talks_to: [archive], checklist: {loose}}}",
    }
    text = PLATFORM.read_text()
    own = text[text.index("\n  ledger:") : text.index("\n# How many")]
    made = deploy((own, "\n" + "\n".join(f"  {name}: {body}" for name, body in workloads.items()) + "\n"))
    assert len([name for name in made if name.endswith("-password")]) == 2


def test_a_public_workload_on_a_machine_can_be_scaled_to_zero(deploy):
    made = deploy(
        ("    full_os: true", "    full_os: true\n    public: true\n    replicas: 0"),
        ("    public: true\n    replicas: 2", "    replicas: 2"),
    )
    assert "tariffs-0" not in made
