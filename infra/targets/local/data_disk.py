"""A machine's data disk: an ext4 file that outlives the machine's root."""

from __future__ import annotations

from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.machines.host import run
from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON = ("path",)


class DataDisk(Resource, module="local", name="DataDisk"):
    """Sparse; it can grow in place and refuses to shrink. Deleted only with its workload."""

    path: pulumi.Output[str]

    def __init__(self, name: str, path: str, size: int, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(ModuleProvider(__name__), name, {"name": name, "path": path, "size": size}, opts)


def create(inputs: Values) -> Values:
    disk = Path(inputs["path"])
    if not disk.exists():
        disk.parent.mkdir(parents=True, exist_ok=True)
        unfinished = disk.with_suffix(".building")
        unfinished.unlink(missing_ok=True)
        run("truncate", f"--size={int(inputs['size'])}", str(unfinished))
        run("mke2fs", "-q", "-t", "ext4", "-L", "data", str(unfinished))
        unfinished.rename(disk)
    return {}


def update(inputs: Values, old: Values) -> Values:
    disk, size = Path(inputs["path"]), int(inputs["size"])
    if not disk.exists():
        raise RuntimeError(
            f"the data disk {disk} is gone; restore it from a backup, or delete the workload to start anew"
        )
    if size < disk.stat().st_size:
        raise RuntimeError(f"the data disk {disk} is {disk.stat().st_size} bytes; it can grow but not shrink to {size}")
    if size > disk.stat().st_size:
        # The machine's kernel learns the new size when it starts next; growing the file harms nobody.
        run("truncate", f"--size={size}", str(disk))
        run("resize2fs", str(disk))
    return {}


def delete(outputs: Values) -> None:
    Path(outputs["path"]).unlink(missing_ok=True)


def is_intact(outputs: Values) -> bool:
    return Path(outputs["path"]).exists()
