"""Show a directory tree with its users shifted, for a machine that has users of its own.

An idmapped mount costs nothing and changes nothing on the disk, so machines with different ranges share one image.
Linux 5.19 and newer can put an overlay on one. `mount` learnt this only with util-linux 2.39, hence the system calls.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RANGE = 0x10000
# What systemd sets aside for containers: https://systemd.io/UIDS-GIDS/
_FIRST, _LAST = 524288, 1878982655

# The same on every architecture; include/uapi/linux/mount.h and asm-generic/unistd.h.
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _MOUNT_ATTR_IDMAP = 1, 4, 0x00100000
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000


class _MountAttributes(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "user_namespace"))


def first_user(scope: str) -> int:
    """The user of the host that a machine's root is: the first of a range that only this machine uses."""
    number = int.from_bytes(hashlib.sha256(scope.encode()).digest()[:8])
    return _FIRST + number % ((_LAST + 1 - _FIRST) // RANGE) * RANGE


def bind_shifted(source: Path, target: Path, first: int) -> None:
    """Mount `source` on `target`, where what belongs to user and group 0… belongs to `first`….

    Raises:
        OSError: the kernel or the file system cannot do this.
    """
    tree = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | os.O_CLOEXEC)
    try:
        with _user_namespace(first) as namespace:
            attributes = _MountAttributes(set=_MOUNT_ATTR_IDMAP, user_namespace=namespace)
            size = ctypes.sizeof(attributes)
            _call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
        _call(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(tree)


@contextmanager
def _user_namespace(first: int) -> Iterator[int]:
    """A descriptor of a user namespace with that mapping; a mount keeps it alive by itself."""
    command = ["unshare", "--user", "sh", "-c", "echo made; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        if not holder.stdout.readline():
            raise OSError("this kernel makes no user namespaces")
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{kind}").write_text(f"0 {first} {RANGE}\n")
        namespace = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield namespace
        finally:
            os.close(namespace)
            holder.communicate(b"\n")


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"idmapped mount: {os.strerror(error)}")
    return result
