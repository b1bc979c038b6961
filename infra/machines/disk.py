"""A golden image as a disk, for the driver that needs one."""

from __future__ import annotations

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
