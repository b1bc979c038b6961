"""The image under test: by default that of the tests of roles, else any directory with a `root/` and its manifest.

python -m pytest tests/image                                     # plain Debian 13, built if need be
python -m pytest tests/image --image DIRECTORY                   # another one
python -m pytest tests/image/test_hygiene.py --machine ssh://HOST    # a machine that was started from an image
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from infra.machines.state import PROJECT
from infra.targets.local import machines_cli

HYGIENE = (PROJECT / "roles/golden_image/files/hygiene.sh").read_text()
RELEASE = "debian-13"
# Layers of an overlay cannot lie on another one, as /tmp may.
SCRATCH = PROJECT / "build" / "test-image"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", type=Path, help="directory of the golden image to look at")
    parser.addoption("--machine", help="a machine that was started from an image, as testinfra names hosts")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_machines: boots real ones, which takes minutes without KVM")


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> Path:
    if given := request.config.getoption("--image"):
        return given.resolve()
    os.environ.setdefault("HYBRID_PLATFORM_STATE", str(SCRATCH / "state"))
    # Shown as it comes: a build takes a minute.
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        return machines_cli.golden(machines_cli.Wanted("image", RELEASE))


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = SCRATCH / tmp_path_factory.getbasetemp().name
    directory.mkdir(parents=True)
    yield directory
    subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=True)


@pytest.fixture(scope="session")
def copy_of(image: Path, scratch: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a root that looks like the image's and can be written to."""
    mounted = []

    def make(name: str) -> Path:
        layers = {layer: scratch / name / layer for layer in ("upper", "work", "merged")}
        for layer in layers.values():
            layer.mkdir(parents=True)
        options = f"lowerdir={image}/root,upperdir={layers['upper']},workdir={layers['work']}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(layers["merged"])], check=True)
        mounted.append(layers["merged"])
        return layers["merged"]

    try:
        yield make
    finally:
        for root in mounted:
            subprocess.run(["umount", str(root)], check=True)


def unclean(host: Host, state: str) -> set[str]:
    """What the hygiene script finds: `rule: what` lines."""
    done = host.run("/bin/sh -c %s hygiene.sh %s", HYGIENE, state)
    assert done.rc in (0, 1) and not done.stderr, done.stderr
    lines = set(done.stdout.splitlines())
    assert bool(lines) == bool(done.rc)
    return lines


def root_host(root: Path) -> Host:
    return testinfra.get_host(str(root), connection="chroot")
