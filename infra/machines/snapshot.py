"""Keep what a machine has written to its root, and go back to it. Its data disk is no part of it.

One snapshot a machine: taking another one replaces it.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from infra.machines import supervisor
from infra.machines.host import run

SNAPSHOT = "snapshot"


def take(directory: Path) -> None:
    """Of a running machine, which stands still for the copy; only a complete copy counts."""
    unfinished = directory / f"{SNAPSHOT}.unfinished"
    driver = supervisor.driver_of(directory)
    with _only(directory), driver.standing_still():
        _remove(unfinished)
        run("cp", "--archive", "--reflink=auto", "--sparse=always", str(driver.writable), str(unfinished))
    _remove(directory / SNAPSHOT)
    unfinished.rename(directory / SNAPSHOT)


def end_interrupted(directory: Path) -> None:
    """Let a machine run again whose snapshot was killed; one that is being taken is waited for."""
    with _only(directory):
        supervisor.driver_of(directory).let_run()


def restore(directory: Path) -> None:
    """Stop the machine and put the snapshot in the place of what it has written; starting it is the caller's.

    Raises:
        FileNotFoundError: if there is no snapshot; the machine is then left alone.
    """
    snapshot, spoilt = directory / SNAPSHOT, directory / "spoilt"
    if not snapshot.exists():
        raise FileNotFoundError(f"{directory} has no snapshot to go back to")
    supervisor.stop(directory)
    writable = supervisor.driver_of(directory).writable
    if writable.exists():
        _remove(spoilt)
        writable.rename(spoilt)
    snapshot.rename(writable)
    _remove(spoilt)


@contextlib.contextmanager
def _only(directory: Path) -> Iterator[None]:
    with (directory / f"{SNAPSHOT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
