"""Each stack is deployed once a session; every test reads the same recording."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from recording import CHECKOUT, Recording, deploy
from shell import Machine

from infra.placement import Plan, place
from infra.spec import load_spec
from policy.resources import Deployment

STACKS = sorted(file.stem.removeprefix("Pulumi.") for file in CHECKOUT.glob("Pulumi.aws-*.yaml"))


def pytest_configure(config: pytest.Config) -> None:
    # The provider warns about every deprecated type as soon as any of its module is imported.
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:pulumi_aws")
    # So does parliament, about itself.
    config.addinivalue_line("filterwarnings", "ignore:pkg_resources is deprecated")
    config.addinivalue_line("filterwarnings", "ignore:.*invalid escape sequence")


@cache
def recorded(stack: str) -> Recording:
    return deploy(stack)


@pytest.fixture(scope="session")
def plan() -> Plan:
    return place(load_spec(CHECKOUT / "platform.yaml"))


@pytest.fixture(scope="session", params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def recording(stack: str) -> Recording:
    return recorded(stack)


@pytest.fixture(scope="session")
def dev_recording() -> Recording:
    return recorded("aws-dev")


@pytest.fixture(scope="session")
def deployed(recording: Recording) -> Deployment:
    return recording.deployment


@pytest.fixture(scope="session")
def prod() -> Deployment:
    return recorded("aws-prod").deployment


@pytest.fixture(scope="session")
def dev() -> Deployment:
    return recorded("aws-dev").deployment


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
