"""Build what the scenario's cluster runs, and write it down as variables of its machines.

python molecule/kubernetes/files/variables.py DIRECTORY PLATFORMS   (writes beside DIRECTORY/inventory.yml)

PLATFORMS is that of molecule.yml, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from infra.targets.local import container_image, oci_image, program_images, programs
from infra.targets.local.cluster import PROGRAMS, reserved
from infra.targets.local.machines_cli import DRIVER, MIB

PEER = "peer"
OWN = 384 * MIB
"""What a machine keeps for itself."""


def of_all(directory: Path) -> dict[str, Any]:
    gathered = directory / "programs"
    programs.create({"path": str(gathered), "keys": dict.fromkeys(PROGRAMS)})
    own = program_images.create({"path": str(gathered), "programs": ["pause", "coredns"]})
    source = oci_image.source_digest(container_image.WORKLOADS, PEER)
    peer = container_image.create({"program": PEER, "source": source, "port": 8080})
    return {
        "kubernetes_binaries_source": str(gathered),
        "kubernetes_node_pause_image": own["references"]["pause"],
        "kubernetes_node_image_archives": [*own["archives"], {"reference": peer["reference"], "path": peer["archive"]}],
        "cluster_services_dns_image": own["references"]["coredns"],
        "peer_image": peer["reference"],
    }


def of_machine(platform: dict[str, Any]) -> dict[str, Any]:
    return {"kubernetes_node_reserved": reserved(DRIVER, platform["memory"] * MIB, OWN)}


def write(file: Path, variables: dict[str, Any]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(variables, indent=2))


def main(directory: Path, platforms: list[dict[str, Any]]) -> None:
    for platform in platforms:
        write(directory / "host_vars" / f"{platform['name']}.json", of_machine(platform))
    write(directory / "group_vars" / "all.json", of_all(directory))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
