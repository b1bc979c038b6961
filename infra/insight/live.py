"""Fetch what a running platform says of itself: the stack's state through Pulumi, objects through the API server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.insight.deployed import KINDS, deployed
from infra.insight.estate import Estate

ROOT = Path(__file__).resolve().parents[2]
_PATHS = {
    "pods": "/api/v1/pods",
    "namespaces": "/api/v1/namespaces",
    "services": "/api/v1/services",
    "secrets": "/api/v1/secrets",
    "networkpolicies": "/apis/networking.k8s.io/v1/networkpolicies",
    "runtimeclasses": "/apis/node.k8s.io/v1/runtimeclasses",
    "roles": "/apis/rbac.authorization.k8s.io/v1/roles",
    "rolebindings": "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "clusterroles": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "clusterrolebindings": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
}
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class NotDeployedError(Exception):
    """There is no such stack, or nothing in it."""


@dataclass(frozen=True)
class Stack:
    """A stack's state; `kubeconfig` is a secret and goes nowhere but to the API client."""

    name: str
    outputs: dict[str, Any]
    resources: list[Any]
    kubeconfig: str

    def estate(self) -> Estate:
        return deployed(self.outputs, self.resources, cluster_objects(self.kubeconfig))


def stack(name: str) -> Stack:
    """Read a stack's state.

    Raises:
        NotDeployedError: if there is nothing to read, with the reason in one line.
    """
    exported = json.loads(_pulumi("stack", "export", "--stack", name))
    resources = (exported.get("deployment") or {}).get("resources") or []
    outputs = json.loads(_pulumi("stack", "output", "--stack", name, "--json", "--show-secrets"))
    missing = {"machines", "inventory", "kubeconfig"} - set(outputs)
    if missing:
        raise NotDeployedError(f"stack {name} has no output {', '.join(sorted(missing))}: it is not up")
    return Stack(name, outputs, resources, outputs.pop("kubeconfig"))


def cluster_objects(kubeconfig: str) -> dict[str, list[Any]]:
    """The cluster's objects by kind. Of secrets only the names are asked for, so no value leaves the API server."""
    from kubernetes import config  # takes a second to import, which commands on a plan should not wait for

    load: Any = config.new_client_from_config_dict
    with load(yaml.safe_load(kubeconfig)) as api:
        return {kind: _list(api, kind) for kind in KINDS}


def _list(api: Any, kind: str) -> list[Any]:
    response = api.call_api(
        *api.param_serialize(
            "GET",
            _PATHS[kind],
            header_params={"Accept": _METADATA_ONLY if kind == "secrets" else "application/json"},
            auth_settings=["BearerToken"],
        ),
        _request_timeout=30,
    )
    response.read()
    return json.loads(response.data)["items"]


def _pulumi(*arguments: str) -> str:
    launcher = ROOT / ".tools/bin/pulumi"
    program = str(launcher) if launcher.exists() else shutil.which("pulumi")
    if not program:
        raise NotDeployedError("there is no pulumi yet: run `make up` first")
    run = subprocess.run(
        [program, *arguments, "--non-interactive"],
        cwd=ROOT,
        env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        words = [line for line in run.stderr.splitlines() if line.strip()] or ["pulumi failed"]
        raise NotDeployedError(words[-1].removeprefix("error: "))
    return run.stdout
