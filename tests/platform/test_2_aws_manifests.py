"""What the AWS target applies to its cluster before the collection's playbooks, held up to a real API server: every
object is a server-side dry run, so that nothing is made."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
JOBS = PROJECT / "infra" / "targets" / "aws" / "jobs"
VARIABLES = {
    "autoscaler_image": f"registry.example/autoscaler@sha256:{'0' * 64}",
    "cluster_name": "reference-aws-dev",
    "region": "eu-central-1",
    "volume_key": "arn:aws:kms:eu-central-1:111122223333:key/1",
}


def prepare(platform, playbook: Path) -> subprocess.CompletedProcess[str]:
    told = {**VARIABLES, "kubeconfig": platform.state / "kubeconfig"}
    extra = [word for name, value in told.items() for word in ("--extra-vars", f"{name}={value}")]
    command = [Path(sys.executable).with_name("ansible-playbook"), "--check", "--inventory", "localhost,"]
    return subprocess.run([*command, playbook, *extra], cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.looks_only
def test_the_api_server_takes_the_classes_and_the_autoscaler(platform):
    run = prepare(platform, JOBS / "prepare.yml")
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("(item=") == len(list(JOBS.glob("*.yaml"))) == 3


@pytest.mark.looks_only
def test_the_api_server_would_refuse_a_field_that_it_does_not_know(platform, tmp_path):
    for file in JOBS.glob("*.y*ml"):
        text = file.read_text().replace("readOnlyRootFilesystem", "readOnlyRoot")
        (tmp_path / file.name).write_text(text)
    run = prepare(platform, tmp_path / "prepare.yml")
    assert run.returncode != 0 and "readOnlyRoot: field not declared in schema" in run.stdout + run.stderr
