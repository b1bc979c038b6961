"""Commands of the host, run with their errors told in full; and what the host has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


class CommandError(Exception):
    """A command failed; str() is the command and what it said."""


# A process namespace that ends with us: what runs in it would go on after a kill, and work against the next attempt.
_ENDS_WITH_US = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def run(*command: str, stdin: str | None = None, timeout: float | None = 300) -> str:
    """Its standard output.

    Raises:
        CommandError: if it exits non-zero, or does not end in time.
    """
    try:
        done = subprocess.run(command, input=stdin or "", capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise CommandError(f"`{' '.join(command)}` did not end within {timeout} s") from None
    if done.returncode != 0:
        raise CommandError(f"`{' '.join(command)}` exited with {done.returncode}: {_last_lines(done)}")
    return done.stdout


def run_streaming(command: Sequence[str], cwd: Path) -> None:
    """Run it, as root, with its output going where ours goes; whatever ends us ends it with all that it has started.

    Raises:
        CommandError: if it exits non-zero; what went wrong has been printed already.
    """
    code = subprocess.run([*_ENDS_WITH_US, *command], stdin=subprocess.DEVNULL, cwd=cwd).returncode
    if code != 0:
        raise CommandError(f"`{' '.join(command)}` exited with {code}")


def succeeds(*command: str) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


def _last_lines(done: subprocess.CompletedProcess[str]) -> str:
    return "\n".join((done.stderr + done.stdout).strip().splitlines()[-15:])


def memory() -> int:
    """Bytes of memory, as the kernel counts it in /proc/meminfo."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_memory() -> int:
    """Bytes of memory that could be given to a new process without swapping, as the kernel estimates it."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
