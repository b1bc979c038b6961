"""Keeps one machine running: `python -m infra.machines.supervisor MACHINE_DIRECTORY`.

Started in a session and a mount namespace of its own, it outlives `pulumi up`. It holds a lock for
as long as it lives, which is how others know. SIGTERM shuts the machine down; SIGHUP makes it read
its limits again. A machine that reboots or is killed is started again; one that powers off is not.
"""

from __future__ import annotations

import contextlib
import fcntl
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

from infra.machines import processes
from infra.machines.config import MachineConfig
from infra.machines.nspawn import NspawnDriver
from infra.machines.qemu import QemuDriver

LOCK = "supervisor.lock"
STOP_WITHIN = 20.0
_MODULE = "infra.machines.supervisor"


class Driver(Protocol):
    config: MachineConfig

    def prepare(self) -> None: ...
    def start(self) -> subprocess.Popen[bytes]: ...
    def wants_restart(self, process: subprocess.Popen[bytes]) -> bool: ...
    def stop(self, process: subprocess.Popen[bytes]) -> None: ...
    def clean_up(self) -> None: ...
    def apply_limits(self) -> None: ...
    def standing_still(self) -> contextlib.AbstractContextManager[None]: ...
    def stands_still(self) -> bool: ...
    def let_run(self) -> None: ...
    @property
    def writable(self) -> Path: ...


def driver_of(directory: Path) -> Driver:
    config = MachineConfig.read(directory)
    return (QemuDriver if config.driver == "qemu" else NspawnDriver)(config, directory)


def is_running(directory: Path) -> bool:
    """Whether a supervisor holds the machine's lock; a dead one's lock is gone with it."""
    try:
        with (directory / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def has_process(directory: Path) -> bool:
    """Whether the machine has a supervisor, also one that has not come as far as its lock."""
    return bool(_supervisors(directory))


def signal_supervisor(directory: Path, number: int) -> None:
    """Send it to every supervisor of the machine, also to one whose directory was deleted under it."""
    processes.end(_supervisors(directory), number)


def stop(directory: Path) -> None:
    """Shut the machine down and wait for it; kill it if it will not go. So with all below a directory of machines."""
    signal_supervisor(directory, signal.SIGTERM)
    ends = time.monotonic() + STOP_WITHIN + 5
    while _supervisors(directory) and time.monotonic() < ends:
        time.sleep(0.1)
    signal_supervisor(directory, signal.SIGKILL)


def _supervisors(directory: Path) -> list[int]:
    return processes.with_argument(str(directory), after=_MODULE)


class Supervisor:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._driver = driver_of(directory)
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_limits)
        self._driver.prepare()
        try:
            while not self._stopping:
                started = time.monotonic()
                self._process = self._driver.start()
                self._wait()
                if not self._driver.wants_restart(self._process):
                    break
                # A machine that dies at once must not keep a processor busy.
                time.sleep(max(0.0, min(1.0, 5.0 - (time.monotonic() - started))))
        finally:
            self._driver.clean_up()

    def _wait(self) -> None:
        assert self._process
        stop_by = None
        while self._process.poll() is None:
            if self._stopping:
                stop_by = stop_by or time.monotonic() + STOP_WITHIN
                if time.monotonic() > stop_by:
                    self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1)

    def _on_stop(self, *_: object) -> None:
        self._stopping = True
        if self._process and self._process.returncode is None:
            self._driver.stop(self._process)

    def _on_limits(self, *_: object) -> None:
        # Told to the driver at work: another one would not know what this one's machine has last said.
        self._driver.config = MachineConfig.read(self._directory)
        self._driver.apply_limits()


def _take(lock: int) -> bool:
    """Somebody who only looks holds the lock for a moment; a supervisor holds it for good."""
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


def main(directory: Path) -> int:
    with (directory / LOCK).open("a") as lock:
        if not _take(lock.fileno()):
            return 0
        Supervisor(directory).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
