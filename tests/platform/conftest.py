"""A platform of its own for these tests: brought up once, taken down at the end.

Its state directory is build/test-platform, so a user's running platform is never touched. With
`--running-platform` the tests that only look run on the platform that `make up` started.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import testinfra
from testinfra.host import Host

from infra.lifecycle import clear_dead_locks
from infra.machines.patience import patience
from infra.machines.state import State

PROJECT = Path(__file__).parents[2]
TEST_STATE = PROJECT / "build" / "test-platform"
DRIVER = (
    ("--config", f"hybrid-platform:machine_driver={os.environ['HYBRID_PLATFORM_TEST_DRIVER']}")
    if "HYBRID_PLATFORM_TEST_DRIVER" in os.environ
    else ()
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--running-platform", action="store_true", help="look at the platform of `make up`")
    parser.addoption("--keep-platform", action="store_true", help="leave the test platform running at the end")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "looks_only: changes nothing, so it also runs on a user's platform")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--running-platform"):
        items[:] = [item for item in items if item.get_closest_marker("looks_only")]


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any


@dataclass
class PlatformUnderTest:
    state: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"HYBRID_PLATFORM_STATE": str(self.state)}

    def command(self, *arguments: str) -> list[str]:
        """Pulumi's command line for this platform."""
        command = [str(PROJECT / ".tools/bin/pulumi"), *arguments, "--stack", "local", "--non-interactive"]
        return [*command, *DRIVER] if arguments[0] in ("up", "preview", "refresh") else command

    def pulumi(self, *arguments: str, check: bool = True) -> str:
        command = self.command(*arguments)
        done = subprocess.run(
            command, cwd=PROJECT, env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def up(self, *arguments: str) -> str:
        return self.pulumi("up", "--yes", "--skip-preview", "--suppress-outputs", *arguments)

    def down(self) -> None:
        subprocess.run([sys.executable, "-m", "infra.lifecycle", "down"], cwd=PROJECT, env=self.environment, check=True)

    def clear_dead_locks(self) -> None:
        clear_dead_locks(State(self.state))

    def preview(self, *arguments: str) -> dict[str, str]:
        """What `pulumi preview` would do: operation by resource name, without what stays the same."""
        steps = json.loads(self.pulumi("preview", "--json", *arguments))["steps"]
        return {step["urn"].rpartition("::")[2]: step["op"] for step in steps if step["op"] not in ("same", "read")}

    def resources(self) -> list[dict[str, Any]]:
        return json.loads(self.pulumi("stack", "export"))["deployment"]["resources"]

    def urn(self, name: str) -> str:
        return next(r["urn"] for r in self.resources() if r["urn"].endswith(f"::{name}"))

    @cached_property
    def outputs(self) -> dict[str, Any]:
        return json.loads(self.pulumi("stack", "output", "--json"))

    @property
    def inventory(self) -> dict[str, Any]:
        return self.outputs["inventory"]

    def limit(self, seconds: int) -> int:
        """A limit of time on what these machines do: longer where they really run in software."""
        return seconds * max(patience(machine["driver"]) for machine in self.outputs["machines"].values())

    def comes_true(self, check: Callable[[], bool], seconds: int = 90) -> bool:
        """Wait until it is true, which is what a user would do, too; what cannot be asked yet is not true."""
        ends = time.monotonic() + self.limit(seconds)
        while time.monotonic() < ends:
            with contextlib.suppress(OSError):
                if check():
                    return True
            time.sleep(0.5)
        return False

    def machine_directory(self, name: str) -> Path:
        return self.state / "machines" / name

    def host(self, name: str) -> Host:
        """testinfra over SSH, with the connection that the inventory tells."""
        return testinfra.get_host(f"ssh://{name}?timeout={self.limit(10)}", ssh_config=str(self._ssh_config))

    def copy_to(self, name: str, source: Path, target: str) -> None:
        subprocess.run(["scp", "-q", "-F", str(self._ssh_config), str(source), f"{name}:{target}"], check=True)

    @cached_property
    def _ssh_config(self) -> Path:
        return self.ssh_config_for(self.inventory["all"]["hosts"], "config")

    def ssh_config_for(self, hosts: dict[str, dict[str, Any]], file_name: str) -> Path:
        """Write an OpenSSH configuration for hosts of an inventory."""
        lines = []
        for name, facts in hosts.items():
            options = facts["ansible_ssh_common_args"].replace("-o ", "\n  ").replace("=", " ")
            lines.append(
                f"Host {name}\n  HostName {facts['ansible_host']}\n  User {facts['ansible_user']}\n"
                f"  IdentityFile {facts['ansible_ssh_private_key_file']}{options}\n  LogLevel ERROR\n"
                f"  ControlMaster auto\n  ControlPersist 30\n  ControlPath /run/hp-test-%C\n"
            )
        file = self.state / "ssh" / file_name
        file.write_text("".join(lines))
        return file

    def request(self, path: str, body: Any = None, timeout: int = 10) -> Answer:
        """A request to the public web service; the body of the answer, from JSON where it is JSON."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.outputs["app_url"] + path, data=data)
        try:
            with urllib.request.urlopen(request, timeout=self.limit(timeout)) as response:
                status, text = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        try:
            return Answer(status, json.loads(text))
        except ValueError:
            return Answer(status, text)

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(self.state / "programs/kubectl"), "--kubeconfig", str(self.state / "kubeconfig"), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        return done

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", *arguments, "--output=json").stdout)["items"]


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest) -> Iterator[PlatformUnderTest]:
    if request.config.getoption("--running-platform"):
        yield PlatformUnderTest(Path(os.environ.get("HYBRID_PLATFORM_STATE") or PROJECT / ".platform"))
        return
    under_test = PlatformUnderTest(TEST_STATE)
    keep = request.config.getoption("--keep-platform")
    if not keep:
        under_test.down()
    # Shown as it comes: bringing it up takes minutes, the first time many.
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        command = under_test.command("up", "--yes", "--skip-preview", "--suppress-outputs")
        code = subprocess.run(command, cwd=PROJECT, env=under_test.environment, stdin=subprocess.DEVNULL).returncode
    try:
        if code != 0:
            pytest.exit(f"`pulumi up` failed, see above; its logs are in {TEST_STATE / 'logs'}", returncode=1)
        yield under_test
    finally:
        if not keep:
            under_test.down()


@pytest.fixture(scope="session")
def stack_outputs(platform: PlatformUnderTest) -> dict[str, Any]:
    return platform.outputs


@pytest.fixture(scope="session")
def kubeconfig(platform: PlatformUnderTest, monkeypatch_session: pytest.MonkeyPatch) -> Path:
    monkeypatch_session.setenv("PATH", str(platform.state / "programs"), prepend=os.pathsep)
    return platform.state / "kubeconfig"


@pytest.fixture(scope="session")
def inventory(platform: PlatformUnderTest) -> dict[str, Any]:
    return platform.inventory


@pytest.fixture(scope="session")
def monkeypatch_session() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch
