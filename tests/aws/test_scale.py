"""A platform of a hundred workloads is larger, not slower for each of them, and stays within AWS's limits."""

from __future__ import annotations

import gc
import json
import re
from collections import Counter
from functools import cache

import pytest
from recording import deploy

from benchmarks import preview
from infra.placement import Runtime
from policy.resources import Deployment

SMALL, LARGE = 12, 48
POLICY_LIMIT = 10240  # characters of a role's inline policies
BUILDSPEC_LIMIT = 16384
# What is of the whole platform waits for the whole platform; nothing waits for it but each other.
OF_ALL = {"artifacts-inventory", "jobs-cluster"}


@pytest.fixture(scope="module")
def sized(tmp_path_factory):
    @cache
    def deployed(workloads: int) -> Deployment:
        spec = tmp_path_factory.mktemp("spec") / "platform.yaml"
        spec.write_text(json.dumps(preview.spec(workloads)))
        return deploy("aws-dev", preview.without_canaries, spec).deployment

    return deployed


def test_ssm_takes_what_there_is_of_a_large_platform(tmp_path_factory):
    """Its quotas: 25 patch groups a baseline, 20 tasks and 100 targets a window."""
    spec = tmp_path_factory.mktemp("spec") / "platform.yaml"
    spec.write_text(re.sub(r'"w(\d+)"', r'"workload-with-a-name-\1"', json.dumps(preview.spec(90))))
    deployment = deploy("aws-dev", preview.without_canaries, spec).deployment
    assert all(len(w.props["description"]) <= 128 for w in deployment.of("ssm/maintenanceWindow"))
    machines = len(deployment.of("ssm/patchGroup"))
    assert machines == len(deployment.plan.on(Runtime.VM)) == 30
    for kind, key, most in (
        ("ssm/patchGroup", "baselineId", 25),
        ("ssm/maintenanceWindowTask", "windowId", 20),
        ("ssm/maintenanceWindowTarget", "windowId", 100),
    ):
        assert max(Counter(r.props[key] for r in deployment.of(kind)).values()) <= most, kind
    assert len(deployment.of("ssm/maintenanceWindowTask")) == 2 * machines


def test_the_collector_does_not_walk_over_all_that_lives(tmp_path):
    """It took as long as all the rest, and more with every workload."""
    walks: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            walks.append(info["generation"])

    spec = tmp_path / "platform.yaml"
    spec.write_text(json.dumps(preview.spec(SMALL)))
    gc.collect()
    gc.callbacks.append(note)
    try:
        deploy("aws-dev", preview.without_canaries, spec)
    finally:
        gc.callbacks.remove(note)
    assert len(walks) < 50, "some before the program begins, not hundreds"
    assert gc.isenabled()


def waits_for(deployment: Deployment) -> dict[str, int]:
    """By resource, how many others it waits for, directly or not."""
    by_urn = {resource.urn: resource for resource in deployment}
    known: dict[str, frozenset[str]] = {}

    def reached(urn: str) -> frozenset[str]:
        if urn not in known:
            direct = by_urn[urn].depends_on if urn in by_urn else frozenset()
            known[urn] = direct.union(*map(reached, direct))
        return known[urn]

    return {r.name: len(reached(r.urn)) for r in deployment.aws() if r.name not in OF_ALL}


def test_no_workload_waits_for_all_the_others(sized):
    """Pulumi walks over what a resource waits for, each time that another one waits for it: what grows with the
    platform there makes the whole program grow with its square."""
    small, large = waits_for(sized(SMALL)), waits_for(sized(LARGE))
    assert len(large) > 2 * len(small)
    name = max(large, key=lambda name: large[name])
    assert large[name] <= 1.1 * max(small.values()), f"{name} waits for {large[name]} others"


def test_no_policy_and_no_script_grows_with_the_platform(sized):
    small, large = sized(SMALL), sized(LARGE)
    for kind, key, limit in (
        ("iam/rolePolicy", "policy", POLICY_LIMIT),
        ("codebuild/project", "source", BUILDSPEC_LIMIT),
        ("ec2/vpcEndpoint", "policy", POLICY_LIMIT),
    ):
        longest = [max(len(str(r.props[key])) for r in deployment.of(kind)) for deployment in (small, large)]
        assert longest[1] <= longest[0] + 100 and longest[1] < limit, f"{kind}: {longest}"
