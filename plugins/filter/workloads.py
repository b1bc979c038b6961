# Apache-2.0 (see LICENSE)
"""What the roles that run workloads in Kubernetes compute: complete workloads and their secrets."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

SECRETS = "/run/secrets/workload"

DEFAULTS = {
    "image_pull_policy": "IfNotPresent",
    "runtime": "container",
    "replicas": 1,
    "ports": [],
    "probe": "http",
    "public": False,
    "node_port": 0,
    "disk": 0,
    "environment": {},
    "secrets": {},
    "secret_files": {},
    "talks_to_pods": [],
    "talks_to_addresses": [],
    "callers": [],
}


def variable(name: str) -> str:
    """A name as the environment spells it."""
    return name.upper().replace("-", "_")


def environment(workload: dict[str, Any]) -> dict[str, str]:
    """What the container finds in its environment; what the workload itself asks for wins."""
    found = {"PORT": workload["ports"][0]} if workload["ports"] else {}
    peers = [(peer["name"], f"{peer['name']}.{peer['name']}.svc", peer["port"]) for peer in workload["talks_to_pods"]]
    peers += [(peer["name"], peer["address"], peer["port"]) for peer in workload["talks_to_addresses"]]
    for name, host, port in peers:
        # A peer with several ports, or several machines, is known by the first.
        found.setdefault(f"{variable(name)}_HOST", host)
        found.setdefault(f"{variable(name)}_PORT", port)
    for name in [*workload["secrets"], *workload["secret_files"]]:
        found[f"{variable(name)}_FILE"] = f"{SECRETS}/{name}"
    return {name: str(value) for name, value in sorted((found | workload["environment"]).items())}


def workloads(given: list[dict[str, Any]], platform: str, burst: float) -> list[dict[str, Any]]:
    """Complete workloads, with labels, environment and amounts as Kubernetes writes them."""
    complete = []
    for item in given:
        workload = DEFAULTS | item
        if workload["public"] and not workload["ports"]:
            raise AnsibleFilterError(f"{workload['name']} is public, but has no port")
        millicores = math.ceil(workload["cpu"] * 1000)
        complete.append(
            workload
            | {
                "selector": {"app.kubernetes.io/name": workload["name"], "app.kubernetes.io/part-of": platform},
                "millicores": millicores,
                "millicores_limit": math.ceil(millicores * burst),
                "environment": environment(workload),
                "secrets_path": SECRETS,
            }
        )
    return complete


def workload_secrets(complete: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Each workload's secrets by name, those that are kept in files of this machine included."""
    return {
        workload["name"]: workload["secrets"]
        | {name: Path(file).read_text() for name, file in workload["secret_files"].items()}
        for workload in complete
    }


def secrets_digest(secrets: dict[str, str]) -> str:
    """Says that the secrets changed, and nothing about them."""
    return hashlib.sha256(json.dumps(secrets, sort_keys=True).encode()).hexdigest()[:16]


class FilterModule:
    """Filters of the roles that run workloads."""

    def filters(self) -> dict[str, Any]:
        """By name."""
        return {
            "workloads": workloads,
            "workload_secrets": workload_secrets,
            "secrets_digest": secrets_digest,
        }
