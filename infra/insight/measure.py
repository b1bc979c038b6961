"""Measure what the workloads of a local platform use, from the control groups of its machines and pods.

As they are, or while this program asks the platform for something at a steady rate.
"""

from __future__ import annotations

import ipaddress
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.insight.estate import Estate
from infra.insight.usage import Samples
from infra.spec import Runtime

ROOT = Path("/sys/fs/cgroup")


ASKERS = 4


@dataclass
class Answers:
    """How many requests were answered, and how many were refused or failed."""

    good: int = 0
    bad: int = 0


@dataclass(frozen=True)
class Reading:
    """CPU time so far in seconds, and bytes that cannot be given back."""

    cpu: float
    memory: int


def groups_of(estate: Estate, pods: list[Any], scope: str, root: Path = ROOT) -> dict[str, list[Path]]:
    """The control group of each copy of each workload that runs on this host, as paths below a hierarchy.

    Args:
        pods: the cluster's pod objects.
        scope: what the control groups of the platform's machines start with.
    """
    groups: dict[str, list[Path]] = {}
    for unit in estate.units:
        if unit.runtime is Runtime.VM:
            found = _machine_group(root, f"{scope}-{unit.machine}")
        else:
            uid = next(p["metadata"]["uid"] for p in pods if _name(p) == unit.name)
            node = _machine_group(root, f"{scope}-{unit.machine}")
            found = node and _pod_group(root, node, uid)
        if found:
            groups.setdefault(unit.workload, []).append(found)
    return groups


@contextmanager
def load(url: str, rate: float) -> Iterator[Answers]:
    """Ask a URL `rate` times a second, until the block ends; each request in its turn, so never more at once than
    the platform can answer in its own time.

    Raises:
        ValueError: if the URL is no address of a machine of one's own.
    """
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        is_own = not ipaddress.ip_address(host).is_global
    except ValueError:
        is_own = host == "localhost"
    if not is_own:
        raise ValueError(f"{url}: load is put on platforms of this host only")
    answers, over = Answers(), threading.Event()
    threads = [threading.Thread(target=_ask, args=(url, rate / ASKERS, answers, over)) for _ in range(ASKERS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _ask(url: str, rate: float, answers: Answers, over: threading.Event) -> None:
    due = time.monotonic()
    while not over.wait(max(0.0, due - time.monotonic())):
        due = max(due + 1 / rate, time.monotonic())
        try:
            with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - http to a host of our own
                response.read()
            answers.good += 1
        except OSError:
            answers.bad += 1


def sample(groups: Mapping[str, list[Path]], count: int, seconds: float, root: Path = ROOT) -> dict[str, Samples]:
    """Samples of the busiest copy of each workload; those of a VM hold its own system, too, to be on the safe side."""
    before = _readings(groups, root)
    cpu: dict[str, list[float]] = {name: [] for name in groups}
    memory: dict[str, list[int]] = {name: [] for name in groups}
    for _ in range(count):
        started = time.monotonic()
        time.sleep(seconds)
        after = _readings(groups, root)
        passed = time.monotonic() - started
        for name, copies in after.items():
            spent = (now.cpu - old.cpu for now, old in zip(copies, before[name], strict=True))
            cpu[name].append(max(spent) / passed)
            memory[name].append(max(copy.memory for copy in copies))
        before = after
    return {name: Samples(tuple(cpu[name]), tuple(memory[name])) for name in groups}


def _readings(groups: Mapping[str, list[Path]], root: Path) -> dict[str, list[Reading]]:
    return {name: [_reading(root, group) for group in copies] for name, copies in groups.items()}


def _reading(root: Path, group: Path) -> Reading:
    if _is_unified(root):
        cpu, memory = root / group, root / group
        seconds = _table(cpu / "cpu.stat")["usage_usec"] / 1e6
        used, idle = memory / "memory.current", _table(memory / "memory.stat")["inactive_file"]
    else:
        cpu, memory = root / "cpuacct" / group, root / "memory" / group
        seconds = int((cpu / "cpuacct.usage").read_text()) / 1e9
        used, idle = memory / "memory.usage_in_bytes", _table(memory / "memory.stat")["total_inactive_file"]
    return Reading(seconds, max(int(used.read_text()) - idle, 0))


def _table(file: Path) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in file.read_text().splitlines())}


def _is_unified(root: Path) -> bool:
    return (root / "cgroup.controllers").exists()


def _hierarchy(root: Path) -> Path:
    return root if _is_unified(root) else root / "memory"


def _machine_group(root: Path, scope: str) -> Path | None:
    candidates = (Path(scope), Path("system.slice") / f"{scope}.service")
    return next((path for path in candidates if (_hierarchy(root) / path).is_dir()), None)


def _pod_group(root: Path, node: Path, uid: str) -> Path | None:
    return next(_pod_groups(root, node, uid), None)


def _pod_groups(root: Path, node: Path, uid: str) -> Iterator[Path]:
    """Kubelet names it pod<uid>, or with underscores where systemd keeps the groups."""
    hierarchy = _hierarchy(root)
    for name in (f"pod{uid}", f"*pod{uid.replace('-', '_')}.slice"):
        yield from (found.relative_to(hierarchy) for found in (hierarchy / node).glob(f"**/{name}"))


def _name(pod: Any) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
