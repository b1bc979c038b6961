"""A stock image: Debian as its own installer leaves it, with nothing of this project. What roles are measured on.

Every package of priority required and important, and beside them what a machine needs to boot and to be administered.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from infra.targets.local import debian
from toolchain.build import cache_directory, only_builder

PACKAGES = (
    "ca-certificates",
    "dbus",
    "initramfs-tools",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "systemd-sysv",
    "systemd-timesyncd",
    "zstd",
)

HOOKS = (
    'chroot "$1" systemctl enable systemd-networkd.service ssh.service',
    # A timer that takes apt's lock in the middle of a measurement is no part of it.
    'chroot "$1" systemctl mask apt-daily.timer apt-daily-upgrade.timer',
    # Each machine gets its own of these.
    'rm -f "$1"/etc/ssh/ssh_host_* && truncate --size=0 "$1"/etc/machine-id',
)


def image_directory(release: str) -> Path:
    made_of = hashlib.sha256(json.dumps([release, PACKAGES, HOOKS]).encode()).hexdigest()[:16]
    return cache_directory() / "images" / f"stock-{release}-{made_of}"


def build(release: str) -> Path:
    """The image, made now if need be."""
    image = image_directory(release)
    with only_builder(image.parent, f"stock-{release}", print):
        if not image.is_dir():
            for leftover in image.parent.glob(f"{image.name}.*building"):
                shutil.rmtree(leftover, ignore_errors=True)
            # A name of its own: what a killed build has left running does not write into this one.
            unfinished = image.with_name(f"{image.name}.{os.getpid()}.building")
            unfinished.mkdir()
            root = unfinished / "root"
            hooks = [f"--customize-hook={hook}" for hook in HOOKS]
            debian.bootstrap(release, root, "important", PACKAGES, hooks, timeout=1200)
            (root / "etc/dpkg/dpkg.cfg.d/99mmdebstrap").unlink(missing_ok=True)
            unfinished.rename(image)
    return image
