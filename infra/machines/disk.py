"""The ext4 files that machines have for disks."""

from __future__ import annotations

import re
from pathlib import Path

from infra.machines.host import run
from toolchain.build import only_builder


def disk_of(image: Path) -> Path:
    """The image as an ext4 disk, for the driver that needs one; made when first asked for.

    The file is sparse and larger than its content, so that a machine has room to grow.
    """
    disk = image / "root.ext4"
    with only_builder(image, "root.ext4", print):
        if not disk.exists():
            unfinished = image / "root.ext4.building"
            unfinished.unlink(missing_ok=True)
            run("truncate", "--size=8G", str(unfinished))
            run("mke2fs", "-q", "-t", "ext4", "-d", str(image / "root"), str(unfinished))
            unfinished.rename(disk)
    return disk


def fill(disk: Path) -> None:
    """Let the file system take all of its file, which may have grown; nobody may have it mounted."""
    if _size(disk) < disk.stat().st_size:
        # resize2fs wants it checked; 1 means that all was mended.
        run("sh", "-c", 'e2fsck -fp "$1" || [ $? = 1 ]', "sh", str(disk), timeout=None)
        run("resize2fs", str(disk), timeout=None)


def _size(disk: Path) -> int:
    """Bytes of the file system."""
    header = run("dumpe2fs", "-h", str(disk))
    figures = dict(re.findall(r"^Block (count|size): +([0-9]+)$", header, re.MULTILINE))
    return int(figures["count"]) * int(figures["size"])
