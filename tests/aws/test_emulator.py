"""What `make test-aws` would run: its configuration deploys, and its list of exceptions is about things that exist."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from recording import CHECKOUT, deploy

from infra.targets.aws import SERVICES
from policy.resources import Deployment, Resource

HERE = CHECKOUT / "tests" / "aws" / "emulator"


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("emulator_run", HERE / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_emulated_stack_talks_to_loopback_alone(runner):
    ours = runner.configuration("http://127.0.0.1:5000", "http://127.0.0.1:4566")["hybrid-platform:aws"]

    def emulate(config):
        config.update(ours)

    (provider,) = deploy("aws-dev", emulate).deployment.of("pulumi:providers:aws")
    text = provider.props["endpoints"]  # a provider's nested properties are JSON
    assert text.count("http://127.0.0.1:") == text.count("http") > 15
    for service in runner.TO_MINISTACK:
        assert json.loads(text)[0][service] == "http://127.0.0.1:4566"


def test_no_service_that_the_platform_uses_is_asked_for_real():
    """A service that is not told its endpoint asks AWS, with made-up keys."""
    models = yaml.safe_load((CHECKOUT / "tests/aws/api_models.yaml").read_text())
    called = {entry["call"].split()[0] for entry in models.values()}
    assert called | {"sts"} <= set(SERVICES), "sts tells the provider whose account it is"


def test_an_emulator_is_on_loopback_or_nowhere(plan):
    from recording import stack_config

    from infra.targets.aws.config import ConfigError, parse_config

    config = stack_config("aws-dev")["hybrid-platform:aws"] | {"emulator": {"url": "http://elsewhere.example:5000"}}
    with pytest.raises(ConfigError, match=r"emulator\.url"):
        parse_config(config, plan)


def test_stacks_for_people_have_no_emulator(deployed):
    (provider,) = deployed.of("pulumi:providers:aws")
    assert "endpoints" not in provider.props and provider.props["skipCredentialsValidation"] == "false"


@pytest.fixture(scope="module")
def lists() -> dict[str, Any]:
    return yaml.safe_load((HERE / "kinds.yaml").read_text())


def named(kind: str, resource: Resource) -> bool:
    """Whether a kind of the lists, which may end in `*`, is the resource's."""
    return resource.type.startswith(f"aws:{kind.removesuffix('*')}" if kind.endswith("*") else f"aws:{kind}:")


def test_every_kind_of_resource_is_known_to_work_or_not_to(lists, prod, dev):
    """And nothing else is listed. Of what works, the emulator that answers for its service is named."""
    works = [kind for on_one in lists["works"].values() for kind in on_one]
    known = [*lists["left_out"], *lists["drifts"], *works]
    everything = [*prod.aws(), *dev.aws()]
    for resource in everything:
        assert len([kind for kind in known if named(kind, resource)]) == 1, resource.type
    assert [kind for kind in known if not any(named(kind, resource) for resource in everything)] == []
    for reasons in (lists["left_out"], lists["drifts"], lists["gone_with_them"]):
        assert all(len(reason) > 12 for reason in reasons.values())


def test_each_service_is_asked_of_the_emulator_that_knows_it(lists, runner):
    services = {emulator: {kind.split("/")[0] for kind in on_one} for emulator, on_one in lists["works"].items()}
    drifting = {kind.split("/")[0] for kind, why in lists["drifts"].items() if why.startswith("MiniStack")}
    assert services["ministack"] | drifting == set(runner.TO_MINISTACK)
    assert not services["moto"] & set(runner.TO_MINISTACK)


def left_out(runner, deployed: Deployment, *of: str) -> set[str]:
    """URNs that a command leaves out: those that the patterns match as the engine matches (** is anything, * anything
    but a colon), and, as `--exclude-dependents` does, all that waits for one of them."""
    options = runner.excluded(*of)
    assert options[0] == "--exclude-dependents"
    patterns = [
        re.compile(re.escape(o.removeprefix("--exclude=")).replace(r"\*\*", ".*").replace(r"\*", "[^:]*"))
        for o in options[1:]
    ]
    found = {r.urn for r in deployed.aws() if any(pattern.fullmatch(r.urn) for pattern in patterns)}
    assert found == {r.urn for r in deployed.aws() for list_ in of for kind in runner.kinds(list_) if named(kind, r)}
    while more := {r.urn for r in deployed.aws() if r.depends_on & found} - found:
        found |= more
    return found


def test_little_is_left_out_and_nothing_unseen(lists, runner, dev):
    """A project that was left out once took the bundle along, the bundle every machine, and nobody noticed."""
    gone = left_out(runner, dev, "left_out")
    assert len(gone) < len(dev.aws()) / 5
    directly = lists["left_out"]
    with_them = {r.type.split(":")[1] for r in dev.aws() if r.urn in gone and not any(named(k, r) for k in directly)}
    assert with_them == set(lists["gone_with_them"])
    came = {r.type.split(":")[1] for r in dev.aws() if r.urn not in gone}
    assert {"autoscaling/group", "eks/cluster", "codebuild/project", "lb/listener", "backup/selection"} <= came
    assert len(left_out(runner, dev, "left_out", "drifts")) < len(dev.aws()) / 3


def test_the_images_that_the_program_looks_up_are_there(runner, dev_recording):
    """moto knows no image of Debian, and the program ends where it finds none."""
    images = {(image["owner_id"], image["name"], image["architecture"]) for image in runner.public_images()}
    asked = [
        (owner, *(f["values"][0] for f in sorted(call["filters"], key=lambda f: f["name"], reverse=True)))
        for call in dev_recording.calls["aws:ec2/getAmi:getAmi"]
        for owner in call["owners"]
    ]
    assert asked and images == set(asked)


def test_without_the_plugin_it_says_so_and_is_no_failure():
    run = subprocess.run(
        [sys.executable, HERE / "run.py"],
        capture_output=True,
        text=True,
        env={"PATH": "/nonexistent", "HOME": "/nonexistent"},
    )
    assert run.returncode == 0 and run.stdout.strip().startswith("skipped: plugin not installed"), run.stderr
