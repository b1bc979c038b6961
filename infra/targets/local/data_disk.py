"""A machine's data disk: an ext4 file that outlives the machine's root.

Beside the file lies the identity of the resource that it belongs to. A replacement (`pulumi up --replace`) takes the
file over before the old resource goes, and what has been taken over is not the old one's to delete: only `pulumi
destroy`, or a workload that leaves platform.yaml, removes the data.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from infra.machines.host import run
from infra.machines.state import write_atomically
from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON = ("path",)
DELETE_BEFORE_REPLACE = False


class DataDisk(Resource, module="local", name="DataDisk"):
    """Sparse; it can grow in place and refuses to shrink. Deleted only with its workload.

    Attributes:
        size: bytes of the file; its file system takes all of them when the machine starts next.
        owner: another one means that the disk may be new and empty: the machine has to be made anew around it.
    """

    path: pulumi.Output[str]
    size: pulumi.Output[int]
    owner: pulumi.Output[str]

    def __init__(self, name: str, path: str, size: int, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {"name": name, "path": path, "size": size, "owner": None}
        super().__init__(ModuleProvider(__name__), name, inputs, opts)


def create(inputs: Values) -> Values:
    disk = Path(inputs["path"])
    if disk.exists():
        _grow(disk, int(inputs["size"]))
    else:
        _make(disk, int(inputs["size"]))
    owner = uuid.uuid4().hex
    write_atomically(_owner_file(disk), owner)
    return {"owner": owner}


def update(inputs: Values, old: Values) -> Values:
    disk = Path(inputs["path"])
    if not disk.exists():
        raise RuntimeError(
            f"the data disk {disk} is gone; restore it from a backup, or delete the workload to start anew"
        )
    _grow(disk, int(inputs["size"]))
    # From the disk, not from the state: an `up` that was killed may have replaced the resource without telling.
    return {"owner": _owner(disk)}


def delete(outputs: Values) -> None:
    disk = Path(outputs["path"])
    if _owner(disk) in ("", outputs.get("owner")):
        disk.unlink(missing_ok=True)
        _owner_file(disk).unlink(missing_ok=True)


def is_intact(outputs: Values) -> bool:
    disk = Path(outputs["path"])
    return disk.exists() and _owner(disk) == (outputs.get("owner") or "")


def _make(disk: Path, size: int) -> None:
    disk.parent.mkdir(parents=True, exist_ok=True)
    unfinished = disk.with_suffix(".building")
    unfinished.unlink(missing_ok=True)
    # What is kept here is no matter of the host's other users.
    unfinished.touch(mode=0o600)
    os.truncate(unfinished, size)
    run("mke2fs", "-q", "-t", "ext4", "-L", "data", str(unfinished))
    unfinished.rename(disk)


def _grow(disk: Path, size: int) -> None:
    has = disk.stat().st_size
    if size < has:
        raise RuntimeError(f"the data disk {disk} is {has} bytes; it can grow but not shrink to {size}")
    # Only the file: a machine may have mounted what is in it.
    os.truncate(disk, size)


def _owner_file(disk: Path) -> Path:
    return disk.with_suffix(".owner")


def _owner(disk: Path) -> str:
    file = _owner_file(disk)
    return file.read_text() if file.exists() else ""
