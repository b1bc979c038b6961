# Apache-2.0 (see LICENSE)
"""Whether another package run is under way."""

from __future__ import annotations

import fcntl
import os
import time

LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")


def is_locked(path):
    """Whether another process holds the lock; it is taken for this moment, and given back."""
    if not os.path.exists(path):
        return False
    with open(path, "r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.lockf(file, fcntl.LOCK_UN)
    return False


def lock_faults(timeout):
    """What other runs hold all the time that is waited for them."""
    end = time.monotonic() + timeout
    held = [path for path in LOCKS if is_locked(path)]
    while held and time.monotonic() < end:
        time.sleep(1)
        held = [path for path in LOCKS if is_locked(path)]
    return [f"another package run has held {path} for {timeout} seconds" for path in held]
