"""A control group for one machine, on hosts where no systemd makes it.

With cgroup v1 or a hybrid host that is one directory in every hierarchy, with v2 a single one. The limits
are on the outer directory and the machine is in an inner one, which is all that root inside it can see.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000


class ControlGroup:
    def __init__(self, scope: str) -> None:
        self._directories = [hierarchy / scope for hierarchy in _hierarchies()]
        self._inner = [directory / "machine" for directory in self._directories]

    def create(self) -> None:
        for directory in [*self._directories, *self._inner]:
            _hand_down_controllers(directory.parent)
            directory.mkdir(exist_ok=True)
            # A cpuset takes no process before it has been told its processors.
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (directory.parent / file).exists():
                    (directory / file).write_text((directory.parent / file).read_text())

    def add(self, pid: int) -> None:
        for directory in self._inner:
            (directory / "cgroup.procs").write_text(str(pid))

    def limit(self, memory: int, cpu: float) -> None:
        """Memory in bytes; cpu in processors.

        Raises:
            RuntimeError: if the host's control groups cannot limit them.
        """
        quota = int(cpu * _PERIOD)
        self._set({"memory.limit_in_bytes": str(memory), "memory.max": str(memory)})
        self._set({"cpu.cfs_quota_us": str(quota), "cpu.max": f"{quota} {_PERIOD}"})

    def _set(self, values: dict[str, str]) -> None:
        """In whichever of the files there is, depending on the version."""
        files = [directory / file for directory in self._directories for file in values]
        if not any(file.exists() for file in files):
            raise RuntimeError(
                f"the control groups in {ROOT} cannot limit machines: they have no {' or '.join(values)}"
            )
        for file in files:
            if file.exists():
                file.write_text(values[file.name])

    def deny_block_devices(self) -> None:
        """Where the device controller is there: the host's disks are out of reach, also through a stray node."""
        for directory in self._directories:
            if (directory / "devices.deny").exists():
                # Making a node stays allowed: runc asks for that for every container, and it opens nothing.
                (directory / "devices.deny").write_text("b *:* rw")

    def freeze(self, frozen: bool) -> None:
        """Let nothing in it run, or let it run again; returns when that is so.

        A hybrid host has both freezers, and what one has stopped the other waits for in vain.
        """
        word = "FROZEN" if frozen else "THAWED"
        for directory in self._directories:
            if (directory / "freezer.state").exists():
                (directory / "freezer.state").write_text(word)
                return _wait_for(directory / "freezer.state", word)
        for directory in self._directories:
            if (directory / "cgroup.freeze").exists():
                (directory / "cgroup.freeze").write_text(str(int(frozen)))
                return _wait_for(directory / "cgroup.events", f"frozen {int(frozen)}")
        return None

    def is_frozen(self) -> bool:
        """Whether somebody wants nothing in it to run."""
        running = {"freezer.state": "THAWED", "cgroup.freeze": "0"}
        files = [directory / file for directory in self._directories for file in running]
        return any(file.exists() and file.read_text().strip() != running[file.name] for file in files)

    def remove(self) -> None:
        """Ends what is left in it, and removes it with everything below."""
        # Whoever froze it may have been killed, and what is frozen does not end.
        self.freeze(False)
        for directory in self._directories:
            deepest_first = sorted(directory.rglob("cgroup.procs"), key=lambda file: -len(file.parts))
            for processes in deepest_first:
                _end_all(processes)
                with contextlib.suppress(OSError):
                    processes.parent.rmdir()


def _hand_down_controllers(directory: Path) -> None:
    """With version 2 a group has the controllers that the one above it hands down."""
    if (directory / "cgroup.controllers").exists():
        controllers = (directory / "cgroup.controllers").read_text().split()
        with contextlib.suppress(OSError):
            (directory / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def _wait_for(file: Path, words: str) -> None:
    ends = time.monotonic() + 10
    while words not in file.read_text():
        if time.monotonic() > ends:
            raise TimeoutError(f"{file} does not say {words!r}")
        time.sleep(0.01)


def _end_all(processes: Path) -> None:
    for _ in range(50):
        try:
            pids = processes.read_text().split()
        except OSError:
            return
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        time.sleep(0.05)


def _hierarchies() -> list[Path]:
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(p for p in ROOT.iterdir() if p.is_dir() and not p.is_symlink() and (p / "cgroup.procs").exists())
