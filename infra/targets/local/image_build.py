"""Put one golden image together: `python -m infra.targets.local.image_build NAME RELEASE DIRECTORY ROLE...`.

Run it in a mount namespace of its own. mmdebstrap makes the root, the collection's golden-image
playbook configures it by the chroot connection, as it would configure a build machine elsewhere.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from infra.machines.host import CommandError, run
from infra.machines.state import state
from infra.targets.local import ansible, debian
from infra.targets.local.golden_image import PLAYBOOK

# What Ansible needs to work inside, and what every machine boots with; the rest is the role's matter.
BOOTSTRAP = ("systemd", "systemd-sysv", "python3", "python3-apt", "ca-certificates")


def main(name: str, release: str, directory: Path, roles: list[str]) -> None:
    root = directory / "root"
    print(f"{name}: bootstrapping {release}", flush=True)
    _bootstrap(release, root)
    _mount(root)
    shutil.copyfile("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    variables = {
        "golden_image_name": name,
        "golden_image_release": release,
        "golden_image_roles": [f"hybrid.platform.{role}" for role in roles],
        "golden_image_manifest_destination": str(directory / "manifest.json"),
    }
    host = {"ansible_connection": "community.general.chroot", "ansible_host": str(root)}
    ansible.run_playbook(state(), f"image-{name}", PLAYBOOK, {"all": {"hosts": {"image": host}}}, variables)
    (root / "usr/sbin/policy-rc.d").unlink()
    json.loads((directory / "manifest.json").read_text())


def _bootstrap(release: str, root: Path) -> None:
    command = ["mmdebstrap", "--variant=minbase", "--quiet", f"--include={','.join(BOOTSTRAP)}"]
    command += ["--dpkgopt=force-unsafe-io", "--skip=check/empty"]
    run(*command, debian.CODENAMES[release], str(root), *debian.sources(release), timeout=900)


def _mount(root: Path) -> None:
    run("mount", "-t", "proc", "proc", str(root / "proc"))
    run("mount", "-t", "sysfs", "-o", "ro", "sysfs", str(root / "sys"))
    run("mount", "--rbind", "/dev", str(root / "dev"))
    run("mount", "-t", "tmpfs", "tmpfs", str(root / "run"))


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
    except (ansible.PlaybookError, CommandError, OSError) as error:
        sys.exit(str(error))
