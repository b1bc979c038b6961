"""How long a golden image takes: in a chroot, and by booting a virtual machine and going in over SSH.

    .venv/bin/python benchmarks/roles/golden_image/build.py

Both run playbooks/golden_image.yml on Debian 13, as root. The chroot begins with nothing; the virtual machine begins
with a stock Debian whose kernel is installed already, and neither making that nor taking the disk away is counted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(PROJECT)]

from infra.machines.accelerator import accelerator  # noqa: E402
from infra.targets.local import image_root, stock_image  # noqa: E402

RELEASE = "debian-13"
WORK = PROJECT / "build" / "golden-image-benchmark"
GOAL = 1 / 3


def make_image(host: dict[str, Any], beside: Path) -> None:
    """Run the playbook on a host that is to become the image."""
    beside.mkdir(parents=True)
    (beside / "inventory.json").write_text(json.dumps({"all": {"hosts": {"image": host}}}))
    variables = {
        "golden_image_name": "benchmark",
        "golden_image_release": RELEASE,
        "golden_image_manifest_destination": str(beside / "manifest.json"),
    }
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "--inventory", str(beside / "inventory.json")]
    command += ["--extra-vars", json.dumps(variables), "playbooks/golden_image.yml"]
    environment = os.environ | {"ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks"}
    with (beside / "log").open("w") as log:
        subprocess.run(command, cwd=PROJECT, env=environment, stdout=log, stderr=log, check=True)
    packages = json.loads((beside / "manifest.json").read_text())["packages"]
    assert len(packages) > 100, f"{len(packages)} packages are no image"


def in_chroot() -> float:
    """Seconds from nothing to the sealed root."""
    begun = time.monotonic()
    root = WORK / "chroot" / "root"
    root.parent.mkdir()
    image_root.bootstrap(RELEASE, root)
    make_image(image_root.connection(root), WORK / "chroot" / "beside")
    return time.monotonic() - begun


def in_virtual_machine() -> float:
    """Seconds from the start of the machine to the sealed root in its disk."""
    stock_image.build(RELEASE)
    machines_cli("down")
    try:
        begun = time.monotonic()
        machines_cli("up", json.dumps([{"name": "image", "release": RELEASE, "stock": True, "memory": 1024, "cpu": 2}]))
        inventory = json.loads((WORK / "machines" / "inventory.yml").read_text())
        make_image(inventory["all"]["hosts"]["image"], WORK / "virtual-machine")
        return time.monotonic() - begun
    finally:
        machines_cli("down")


def machines_cli(action: str, *machines: str) -> None:
    command = [sys.executable, "-m", "infra.targets.local.machines_cli", action, str(WORK / "machines"), *machines]
    subprocess.run(command, cwd=PROJECT, env=os.environ | {"MACHINE_DRIVER": "qemu"}, check=True)


def main() -> int:
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    chroot = in_chroot()
    print(f"chroot: {chroot:.0f} s", flush=True)
    machine = in_virtual_machine()
    print(f"virtual machine ({accelerator().name}): {machine:.0f} s; the chroot takes {chroot / machine:.2f} of it")
    if chroot > GOAL * machine:
        print(f"the goal is {GOAL:.2f}")
        return 1
    shutil.rmtree(WORK)
    return 0


if __name__ == "__main__":
    sys.exit(main())
