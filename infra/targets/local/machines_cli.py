"""Machines apart from any platform, for tests of roles.

python -m infra.targets.local.machines_cli up DIRECTORY MACHINES   (writes DIRECTORY/inventory.yml)
python -m infra.targets.local.machines_cli down DIRECTORY

MACHINES is a JSON list of objects with the attributes of `Wanted`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.inventory import CONTROL_PLANE, NODES, VM_TIER, Host, Inventory
from infra.machines.ssh import make_key
from infra.machines.state import addresses, gateway, state, subnet
from infra.targets.local import data_disk, golden_image, host_settings, machine, network, stock_image

DRIVER = os.environ.get("MACHINE_DRIVER", "nspawn")
MIB = 2**20


@dataclass(frozen=True)
class Wanted:
    """One machine.

    Attributes:
        release: debian-12 or debian-13.
        stock: Debian as its installer leaves it, instead of a golden image.
        image: name of its golden image; one with roles on board needs a name of its own.
        roles: roles of the collection whose packages are in the image.
        memory, disk: MiB; no data disk without the latter.
        cpu: how many of the host's.
    """

    name: str
    release: str
    stock: bool = False
    image: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = (VM_TIER,)
    memory: int = 512
    disk: int = 0
    cpu: float = 1.0

    @property
    def title(self) -> str:
        # A name that begins no other image's name: a build clears away what a killed build of its name has left.
        return self.image or f"plain-{self.release}"


def up(directory: Path, machines: list[Wanted]) -> None:
    bridge = {"bridge": state().bridge, "subnet": str(subnet(state())), "gateway": gateway(subnet(state()))}
    key = directory / "ssh" / "key"
    if not key.exists():
        make_key(key, "tests")
        (directory / "network.json").write_text(json.dumps(bridge | network.create(bridge)))
    host_settings.create({"needed": host_settings.NEEDED})
    address = addresses(subnet(state()), [wanted.name for wanted in machines])
    hosts = []
    for wanted in machines:
        machine.create(inputs(wanted, bridge, address[wanted.name], key.with_suffix(".pub").read_text()))
        variables = {"ansible_host": address[wanted.name]} | machine.connection(state(), key, wanted.name)
        hosts.append(Host(wanted.name, wanted.groups, variables))
    (directory / "inventory.yml").write_text(json.dumps(Inventory(tuple(hosts)).to_ansible(), indent=2))


def inputs(wanted: Wanted, bridge: dict[str, str], address: str, authorized_key: str) -> dict[str, Any]:
    disk = state().data_disk(wanted.name)
    if wanted.disk:
        data_disk.create({"path": str(disk), "size": wanted.disk * MIB})
    return {
        "name": wanted.name,
        "driver": DRIVER,
        "image": str(stock_image.build(wanted.release) if wanted.stock else golden(wanted)),
        "bridge": bridge["bridge"],
        "address": f"{address}/24",
        "gateway": bridge["gateway"],
        "memory": wanted.memory * MIB,
        "cpu": wanted.cpu,
        "data_disk": str(disk) if wanted.disk else "",
        "authorized_key": authorized_key,
        "kubernetes_node": bool({CONTROL_PLANE, NODES} & set(wanted.groups)),
    }


def golden(wanted: Wanted) -> Path:
    image = golden_image.image_directory(wanted.title, golden_image.image_digest(wanted.release, wanted.roles))
    return golden_image.build(wanted.title, wanted.release, wanted.roles, image)


def down(directory: Path) -> None:
    for file in sorted((directory / "machines").glob("*/machine.json")):
        machine.delete({"name": file.parent.name, "instance_id": machine.instance(file.parent.name)})
    if (directory / "network.json").exists():
        network.delete(json.loads((directory / "network.json").read_text()))
    host_settings.give_back()
    for place in (state().runtime, directory):
        shutil.rmtree(place, ignore_errors=True)


def main(action: str, directory: Path, machines: str = "[]") -> None:
    os.environ["HYBRID_PLATFORM_STATE"] = str(directory)
    if action == "up":
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        up(directory, [Wanted(**one) for one in json.loads(machines)])
    else:
        down(directory)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve(), *sys.argv[3:])
