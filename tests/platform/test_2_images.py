"""The images that machines were started from are known to be in use, whoever asks."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from infra.machines.config import MachineConfig
from infra.machines.state import PROJECT

pytestmark = pytest.mark.looks_only


def lifecycle(*arguments):
    command = [str(PROJECT / ".venv/bin/ansible-playbook"), "playbooks/image_lifecycle.yml", *arguments]
    environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def images(platform, tmp_path_factory):
    report = tmp_path_factory.mktemp("images") / "report.json"
    done = lifecycle("-e", f"image_report={report}")
    assert done.returncode == 0, done.stdout
    return json.loads(report.read_text())


def machines(platform):
    """What each machine is started from, as its own directory says."""
    return {name: MachineConfig.read(platform.machine_directory(name)) for name in platform.outputs["machines"]}


def test_every_machine_uses_its_image(platform, images):
    users = {one["image"]: set(one["users"]) for one in images["images"]}
    for machine in machines(platform).values():
        assert machine.scope in users[Path(machine.image).name]


def test_an_image_in_use_would_not_be_deleted(platform):
    # In check mode, lest a fault here take a platform's images away.
    for image in {Path(machine.image).name for machine in machines(platform).values()}:
        refused = lifecycle("--check", "-e", "image_action=delete", "-e", f"image={image}")
        assert refused.returncode != 0 and f"{image} is in use by" in refused.stdout
