"""Commands of the host, run with their errors told in full; and what the host has."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


class CommandError(Exception):
    """A command failed; str() is the command and what it said."""


def run(*command: str, stdin: str | None = None, timeout: float | None = 300) -> str:
    """Its standard output.

    Raises:
        CommandError: if it exits non-zero.
    """
    done = subprocess.run(command, input=stdin or "", capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise CommandError(f"`{' '.join(command)}` exited with {done.returncode}: {_last_lines(done)}")
    return done.stdout


def run_streaming(command: Sequence[str], cwd: Path) -> None:
    """Run it with its output going where ours goes.

    Raises:
        CommandError: if it exits non-zero; what went wrong has been printed already.
    """
    code = subprocess.run(command, stdin=subprocess.DEVNULL, cwd=cwd).returncode
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
