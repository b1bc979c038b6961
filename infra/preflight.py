"""What this machine lacks of what the local platform needs, to be told before anything begins.

Told, not refused: a platform smaller than the reference's needs less, and what is cached already needs no room.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from infra.machines.host import available_memory, memory
from toolchain.build import cache_directory, programs, ready

GIB = 2**30
PROCESSORS = 2
# What is sold as 8 GiB shows a little less; the machines and a compiler beside them use half of it.
MEMORY = 7.5 * GIB
AVAILABLE_MEMORY = 4 * GIB
# A first run compiles everything; later ones write machines' changes, logs and now and then a new image.
FIRST_DISK, LATER_DISK = 20 * GIB, 5 * GIB


def shortages(state: Path) -> list[str]:
    """One sentence for each thing that is short, with what there is and what is needed."""
    found = []
    processors = len(os.sched_getaffinity(0))
    if processors < PROCESSORS:
        found.append(f"{processors} processor; {PROCESSORS} are needed for limits of time to hold")
    if memory() < MEMORY:
        found.append(f"{_gib(memory())} of memory; 8 GiB are needed")
    elif available_memory() < AVAILABLE_MEMORY:
        found.append(f"{_gib(available_memory())} of memory is free; {_gib(AVAILABLE_MEMORY)} are needed")
    needed = LATER_DISK if all(ready(name) for name in programs()) else FIRST_DISK
    places = {place.stat().st_dev: place for place in map(_existing, (cache_directory(), state))}
    for place in places.values():
        free = shutil.disk_usage(place).free
        if free < needed:
            found.append(f"{_gib(free)} free on the file system of {place}; {_gib(needed)} are needed")
    return found


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there already."""
    return next(place for place in (path, *path.parents) if place.exists())


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
