"""The root directory that a golden image starts as, and a way in for Ansible.

python -m infra.targets.local.image_root RELEASE DIRECTORY
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

from infra.machines.host import CommandError
from infra.targets.local import debian

# What Ansible needs inside, also in check mode, and what every machine boots with; the rest is the role's matter.
BOOTSTRAP = ("systemd", "systemd-sysv", "python3", "python3-apt", "ca-certificates", "openssh-server")
ENTER = Path(__file__).with_name("enter_root.sh")


def bootstrap(release: str, root: Path) -> None:
    """Make a minimal Debian. What it needs only while it is being built, the role removes again."""
    debian.bootstrap(release, root, "minbase", BOOTSTRAP, ["--skip=check/empty"], timeout=900)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)


def connection(root: Path) -> dict[str, Any]:
    """How Ansible reaches it."""
    return {
        "ansible_connection": "community.general.chroot",
        "ansible_host": str(root),
        "ansible_chroot_exe": str(ENTER),
    }


def run_directory(root: Path) -> Path:
    """Where its /run lies while it is being worked on."""
    return root.with_name(f"{root.name}.run")


if __name__ == "__main__":
    try:
        bootstrap(sys.argv[1], Path(sys.argv[2]))
    except (CommandError, OSError) as error:
        sys.exit(str(error))
