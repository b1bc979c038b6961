"""What `make test-aws` would run: its configuration deploys, and its list of exceptions is about things that exist."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest
import yaml
from recording import CHECKOUT, deploy

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


def test_an_emulator_is_on_loopback_or_nowhere(plan):
    from recording import stack_config

    from infra.targets.aws.config import ConfigError, parse_config

    config = stack_config("aws-dev")["hybrid-platform:aws"] | {"emulator": {"url": "http://elsewhere.example:5000"}}
    with pytest.raises(ConfigError, match=r"emulator\.url"):
        parse_config(config, plan)


def test_stacks_for_people_have_no_emulator(deployed):
    (provider,) = deployed.of("pulumi:providers:aws")
    assert "endpoints" not in provider.props and provider.props["skipCredentialsValidation"] == "false"


def test_every_exception_is_of_a_resource_that_the_platform_has(prod):
    kinds = yaml.safe_load((HERE / "excluded.yaml").read_text())
    types = {resource.type.split(":")[1] for resource in prod.aws()}
    for kind, reason in kinds.items():
        assert any(t == kind or (kind.endswith("/*") and t.startswith(kind[:-1])) for t in types), kind
        assert len(reason) > 15


def test_exceptions_leave_most_of_the_platform_in(runner, dev):
    """URNs as the engine writes them, matched as the engine matches: ** is anything, * anything but a colon."""
    import re

    patterns = [
        re.compile(re.escape(p.removeprefix("--exclude=")).replace(r"\*\*", ".*").replace(r"\*", "[^:]*"))
        for p in runner.excluded()
    ]
    left_out = {r.urn for r in dev.aws() if any(pattern.fullmatch(r.urn) for pattern in patterns)}
    kinds = yaml.safe_load((HERE / "excluded.yaml").read_text())
    expected = {r.urn for r in dev.aws() for k in kinds if r.type.startswith((f"aws:{k}:", f"aws:{k.rstrip('*')}"))}
    assert left_out == expected and len(left_out) < len(dev.aws()) / 4


def test_without_the_plugin_it_says_so_and_is_no_failure():
    run = subprocess.run(
        [sys.executable, HERE / "run.py"],
        capture_output=True,
        text=True,
        env={"PATH": "/nonexistent", "HOME": "/nonexistent"},
    )
    assert run.returncode == 0 and run.stdout.strip().startswith("skipped: plugin not installed"), run.stderr
