"""What a machine's supervisor is told: one JSON file in the machine's directory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.machines.state import write_atomically

FILE = "machine.json"


@dataclass(frozen=True)
class MachineConfig:
    """One machine.

    Attributes:
        scope: name that is unique on the host, e.g. hp-1a2b3c-ledger-0.
        instance_id: another one with every fresh root.
        driver: nspawn or qemu.
        image: directory of the golden image.
        address, gateway: with the prefix length in `address`.
        memory: bytes.
        data_disk: ext4 file that is mounted on /srv/data, or an empty string.
        kubernetes_node: whether nspawn gives it the privileges of node_privileges.py.
    """

    name: str
    scope: str
    instance_id: str
    driver: str
    image: str
    bridge: str
    address: str
    gateway: str
    memory: int
    cpu: float
    data_disk: str
    kubernetes_node: bool

    def write(self, directory: Path) -> None:
        write_atomically(directory / FILE, json.dumps(asdict(self), indent=2))

    @classmethod
    def read(cls, directory: Path) -> MachineConfig:
        return cls(**json.loads((directory / FILE).read_text()))
