"""Complete the variables of the cluster's playbooks with what is known only inside the account.

    variables.py FOUND_DIRECTORY INVENTORY KUBECONFIG < cluster.json > variables.json

Runs in the operator's job, on nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def complete(
    known: Mapping[str, Any],
    inventory: Mapping[str, Any],
    images: Mapping[str, str],
    authorities: Mapping[str, str],
    passwords: Mapping[str, Mapping[str, str]],
    directory: Path,
) -> dict[str, Any]:
    """The variables of the roles cluster_services and cluster_workloads.

    Args:
        images: reference with digest, by workload.
        authorities: path of the certificate that vouches for a machine, by machine.
        passwords: by database and caller.
    """
    hosts = inventory["all"]["hosts"]
    workloads = []
    for workload in known["cluster_workloads"]:
        peers = workload["talks_to_machines"]
        machines = [(peer, name) for peer in peers for name in sorted(hosts) if hosts[name]["workload"] == peer["name"]]
        own = {key: value for key, value in workload.items() if key != "talks_to_machines"}
        workloads.append(
            own
            | {
                "image": images[workload["name"]],
                "talks_to_addresses": [
                    {"name": peer["name"], "port": peer["port"], "address": hosts[machine]["ansible_host"]}
                    for peer, machine in machines
                ],
                "secrets": {
                    f"{peer['name']}-password": passwords[peer["name"]][workload["name"]]
                    for peer in peers
                    if workload["name"] in passwords.get(peer["name"], {})
                },
                "secret_files": {
                    f"{peer['name']}-ca": str(directory / f"{machine}.pem")
                    for peer, machine in machines
                    if machine in authorities
                },
            }
        )
    return {**known, "cluster_workloads": workloads}


def by_last_part(parameters: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters by the last part of their names."""
    return {name.rsplit("/", 1)[-1]: value for name, value in parameters}


def main() -> None:
    directory, inventory, kubeconfig = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), Path(sys.argv[3])
    authorities = by_last_part(json.loads((directory / "authorities.json").read_text()))
    for machine, certificate in authorities.items():
        (directory / f"{machine}.pem").write_text(certificate)
    passwords = {
        file.name.removesuffix(".passwords.json"): json.loads(file.read_text())
        for file in directory.glob("*.passwords.json")
    }
    variables = complete(
        json.load(sys.stdin)["variables"],
        json.loads(inventory.read_text()),
        by_last_part(json.loads((directory / "images.json").read_text())),
        authorities,
        passwords,
        directory,
    )
    for role in ("cluster_services", "cluster_policies", "cluster_workloads"):
        variables[f"{role}_kubeconfig"] = str(kubeconfig)
    json.dump(variables, sys.stdout, indent=2, sort_keys=True)


if __name__ == "__main__":
    main()
