"""Find processes of this platform by what their command line names: a path is ours alone, a pid is not."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


def with_argument(start: str, *, after: str = "") -> list[int]:
    """Processes with an argument that is `start` or a path below it, right after the argument `after` if given."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_text(errors="replace").split("\0")
            places = [i for i, a in enumerate(arguments) if a == start or a.startswith(f"{start}/")]
            if any(not after or arguments[i - 1] == after for i in places):
                found.append(int(process.name))
    return found


def end(pids: list[int], number: int = signal.SIGKILL) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
