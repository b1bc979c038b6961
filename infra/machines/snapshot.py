"""Keep what a machine has written to its root, and go back to it. Its data disk is no part of it.

One snapshot a machine: taking another one replaces it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from infra.machines import supervisor
from infra.machines.host import run

SNAPSHOT = "snapshot"


def take(directory: Path) -> None:
    """Of a running machine, which stands still for the copy; only a complete copy counts."""
    unfinished = directory / f"{SNAPSHOT}.unfinished"
    _remove(unfinished)
    driver = supervisor.driver_of(directory)
    with driver.standing_still():
        run("cp", "--archive", "--reflink=auto", "--sparse=always", str(driver.writable), str(unfinished))
    _remove(directory / SNAPSHOT)
    unfinished.rename(directory / SNAPSHOT)


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


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
