"""How long patching a fleet takes: in batches as this collection does, and one by one with Ansible's own settings.

    .venv/bin/python benchmarks/roles/patching/speed.py

Eight machines have 20 updates pending, one of which asks for a reboot. The first and the last of them serve pages
behind a load balancer, which is asked for one the whole time; a request that fails is a fault, as is missing the goal.
"""

from __future__ import annotations

import http.client
import json
import os
import runpy
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from verdict import BenchmarkError, end_by  # noqa: E402

PROJECT = HERE.parents[2]
WORK = PROJECT / "build" / "speed-patching"
FLEET = [f"fleet-{number}" for number in range(1, 9)]
SERVING = [FLEET[0], FLEET[-1]]
BALANCER = "balancer"
UPDATES = 20
# What the playbook does unless told otherwise, and what suits a fleet of eight, by which the goal is judged.
RAMPS: list[list[Any]] = [[1, "10%", "50%", "100%"], [1, "50%", "100%"]]
GOAL = 0.5


def make_updates(directory: Path) -> Path:
    """A repository of 20 packages in two versions, with what makes those of molecule/patching."""
    practice = runpy.run_path(str(PROJECT / "molecule/patching/files/make_repository.py"), run_name="make_repository")
    names = ("practice-service", "practice-reboot")
    packages = [one for one in practice["PACKAGES"] if one.name in names and one.stage <= 2]
    for number in range(UPDATES - len(names)):
        name = f"practice-plain-{number}"
        packages += [practice["Package"](name, "1.0", 1), practice["Package"](name, "1.1", 2)]
    practice["make_stages"](directory / "practice", packages)
    bundle = directory / "practice.tar"
    with tarfile.open(bundle, "w") as archive:
        for stage in (directory / "practice").glob("stage-*"):
            archive.add(stage, stage.name)
    return bundle


@contextmanager
def machines() -> Iterator[None]:
    cli = [sys.executable, "-m", "infra.targets.local.machines_cli"]
    fleet = [{"name": name, "release": "debian-13", "groups": ["fleet"]} for name in FLEET]
    balancer = {"name": BALANCER, "release": "debian-13", "groups": [BALANCER]}
    subprocess.run([*cli, "down", str(WORK)], cwd=PROJECT, check=True)
    try:
        subprocess.run([*cli, "up", str(WORK), json.dumps([*fleet, balancer])], cwd=PROJECT, check=True)
        yield
    finally:
        subprocess.run([*cli, "down", str(WORK)], cwd=PROJECT, check=True)


def play(playbook: str, settings: dict[str, str], **variables: Any) -> float:
    """Run a playbook; returns the seconds that it took.

    Args:
        settings: Ansible's, by environment variable.
    """
    command = ["ansible-playbook", f"--inventory={WORK / 'inventory.yml'}", f"--extra-vars={json.dumps(variables)}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".tools/collections")} | settings
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    begun = time.monotonic()
    done = subprocess.run(
        [*command, playbook], cwd=WORK, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    took = time.monotonic() - begun
    if done.returncode:
        raise BenchmarkError(f"{playbook} failed:\n{(done.stdout + done.stderr)[-6000:]}")
    return took


OURS = {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
ANSIBLES_OWN = {"ANSIBLE_CONFIG": str(WORK / "none.cfg")}


class Visitor(threading.Thread):
    """Asks the load balancer for a page again and again.

    Attributes:
        asked: how often.
        failures: what happened to requests that got no page.
    """

    def __init__(self) -> None:
        super().__init__()
        hosts = json.loads((WORK / "inventory.yml").read_text())["all"]["hosts"]
        self.address = hosts[BALANCER]["ansible_host"]
        self.asked, self.failures = 0, list[str]()
        self.leaves = threading.Event()

    def run(self) -> None:
        while not self.leaves.wait(0.02):
            self.asked += 1
            try:
                self._ask()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            if answer.status != 200 or b"changelog.gz" not in answer.read():
                raise http.client.HTTPException(f"status {answer.status}")
        finally:
            connection.close()

    def told(self) -> str:
        return f"{len(self.failures)} of {self.asked}"

    def __enter__(self) -> Visitor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leaves.set()
        self.join()


def patch(bundle: Path, run: str, settings: dict[str, str], **variables: Any) -> tuple[float, Visitor]:
    """Make the updates pending, and patch the fleet under load."""
    play(str(HERE / "prepare.yml"), OURS, bundle=str(bundle), serving=SERVING)
    common = {
        "patching_hosts": "fleet",
        "patching_run": run,
        "patching_evidence_directory": str(WORK / "evidence"),
        "patching_health_checks": [{"url": "http://127.0.0.1:8080/"}],
        "patching_before_tasks": [str(HERE / "drain.yml")],
        "patching_after_tasks": [str(HERE / "enable.yml")],
        "serving": SERVING,
    }
    with Visitor() as visitor:
        took = play("hybrid.platform.patch", settings, **common, **variables)
    summary = json.loads((WORK / "evidence" / run / "summary.json").read_text())
    if summary["packages_changed"] != UPDATES * len(FLEET) or summary["rebooted"] != FLEET or summary["failed"]:
        raise BenchmarkError(f"not every machine was patched and rebooted: {summary}")
    return took, visitor


def main() -> list[str]:
    with tempfile.TemporaryDirectory() as scratch, machines():
        bundle = make_updates(Path(scratch))
        print("| batches | seconds | of one by one | failed requests |\n|---|---|---|---|")
        slow, visitor = patch(bundle, "one-by-one", ANSIBLES_OWN, patching_batches=1)
        print(f"| one by one, with Ansible's own settings | {slow:.0f} | 1 | {visitor.told()} |", flush=True)
        faults = []
        for batches in RAMPS:
            took, visitor = patch(bundle, "-".join(map(str, batches)), OURS, patching_batches=batches)
            print(f"| {batches} | {took:.0f} | {took / slow:.2f} | {visitor.told()} |", flush=True)
            faults += [f"{batches}: a request failed: {failure}" for failure in sorted(set(visitor.failures))]
            faults += [] if visitor.asked else [f"{batches}: nothing was asked of the service"]
    if took > GOAL * slow:
        faults.append(f"{batches} takes {took / slow:.2f} of one by one, the goal is {GOAL}")
    return faults


if __name__ == "__main__":
    end_by(main)
