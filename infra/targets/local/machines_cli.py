"""Machines apart from any platform, for tests of roles.

python -m infra.targets.local.machines_cli up DIRECTORY NAME=RELEASE...   (writes DIRECTORY/inventory.yml)
python -m infra.targets.local.machines_cli down DIRECTORY
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from infra.machines.ssh import make_key
from infra.machines.state import addresses, gateway, state, subnet
from infra.targets.local import golden_image, machine, network

MEMORY = 512 * 2**20
DRIVER = os.environ.get("MACHINE_DRIVER", "nspawn")


def up(directory: Path, releases: dict[str, str]) -> None:
    bridge = {"bridge": state().bridge, "subnet": str(subnet(state())), "gateway": gateway(subnet(state()))}
    key = directory / "ssh" / "key"
    if not key.exists():
        make_key(key, "tests")
        (directory / "network.json").write_text(json.dumps(bridge | network.create(bridge)))
    hosts: dict[str, Any] = {}
    for name, address in addresses(subnet(state()), releases).items():
        # A name that begins no other image's name: a build clears away what a killed build of its name has left.
        title = f"plain-{releases[name]}"
        image = golden_image.image_directory(title, golden_image.image_digest(releases[name], ()))
        golden_image.build(title, releases[name], (), image)
        inputs: dict[str, Any] = {
            "name": name,
            "driver": DRIVER,
            "image": str(image),
            "address": f"{address}/24",
            "data_disk": "",
        }
        inputs |= {"bridge": bridge["bridge"], "gateway": bridge["gateway"], "memory": MEMORY, "cpu": 1.0}
        machine.create(inputs | {"authorized_key": key.with_suffix(".pub").read_text(), "kubernetes_node": False})
        hosts[name] = {"ansible_host": address} | connection(key, name)
    (directory / "inventory.yml").write_text(json.dumps({"all": {"children": {"vm_tier": {"hosts": hosts}}}}, indent=2))


def connection(key: Path, name: str) -> dict[str, str]:
    known = machine.known_hosts(state(), name)
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def down(directory: Path) -> None:
    for file in sorted((directory / "machines").glob("*/machine.json")):
        machine.delete({"name": file.parent.name, "instance_id": machine.instance(file.parent.name)})
    if (directory / "network.json").exists():
        network.delete(json.loads((directory / "network.json").read_text()))
    shutil.rmtree(directory, ignore_errors=True)


def main(action: str, directory: Path, wanted: list[str]) -> None:
    os.environ["HYBRID_PLATFORM_STATE"] = str(directory)
    if action == "up":
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        up(directory, dict(one.split("=", 1) for one in wanted))
    else:
        down(directory)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), sys.argv[3:])
