"""Where a local platform keeps what it makes, and the names and addresses that follow from it.

Everything lives under one directory (`.platform/` in the checkout, or HYBRID_PLATFORM_STATE); its
path gives the platform its id, so that two checkouts on one machine never share a bridge or a name.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FIRST_HOST = 10


@dataclass(frozen=True)
class State:
    directory: Path

    @property
    def platform_id(self) -> str:
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:6]

    @property
    def bridge(self) -> str:
        return f"hp-{self.platform_id}"

    @property
    def runtime(self) -> Path:
        """For what must not survive a reboot of the host, secrets on their way above all."""
        return Path("/run") / f"hybrid-platform-{self.platform_id}"

    def make(self) -> None:
        """Make the directory, in which other users of this host have no business."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def machine(self, name: str) -> Path:
        return self.directory / "machines" / name

    def data_disk(self, name: str) -> Path:
        return self.directory / "data-disks" / f"{name}.ext4"

    def logs(self) -> Path:
        return self.directory / "logs"


def state() -> State:
    """The platform of this process's environment."""
    return State(Path(os.environ.get("HYBRID_PLATFORM_STATE") or PROJECT / ".platform").resolve())


def write_atomically(file: Path, text: str, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    unfinished.touch(mode=mode)
    unfinished.write_text(text)
    unfinished.replace(file)


def subnet(state: State) -> ipaddress.IPv4Network:
    """The platform's /24, chosen once so that it meets no route of the host, then kept."""
    kept = state.directory / "subnet.json"
    if kept.exists():
        return ipaddress.IPv4Network(json.loads(kept.read_text()))
    taken = _routes()
    start = int(hashlib.sha256(str(state.directory).encode()).hexdigest()[:8], 16)
    for offset in range(100 * 256):
        number = (start + offset) % (100 * 256)
        # 10.100-199: clear of the pod and service ranges and of the usual container bridges.
        candidate = ipaddress.IPv4Network(f"10.{100 + number // 256}.{number % 256}.0/24")
        if not any(candidate.overlaps(route) for route in taken):
            write_atomically(kept, json.dumps(str(candidate)))
            return candidate
    raise RuntimeError("every subnet between 10.100.0.0 and 10.199.255.0 meets a route of this machine")


def _routes() -> list[ipaddress.IPv4Network]:
    routes = json.loads(subprocess.run(["ip", "-j", "route"], check=True, capture_output=True).stdout)
    return [ipaddress.IPv4Network(r["dst"]) for r in routes if r.get("dst", "default") != "default"]


def addresses(network: ipaddress.IPv4Network, names: Iterable[str]) -> dict[str, str]:
    """A stable address for each name: it depends on the name, not on who else there is, unless two meet."""
    room = network.num_addresses - FIRST_HOST - 2
    result: dict[str, str] = {}
    taken: set[int] = set()
    for name in sorted(names):
        slot = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % room
        while slot in taken:
            slot = (slot + 1) % room
        taken.add(slot)
        result[name] = str(network[FIRST_HOST + slot])
    return result


def gateway(network: ipaddress.IPv4Network) -> str:
    return str(network[1])
