"""Fetch what a running platform says of itself: the stack's state through Pulumi, objects through the API server.

Where neither can be reached from here, both can be given as files.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from infra.insight.cluster import KINDS
from infra.insight.deployed import deployed
from infra.insight.estate import Estate
from infra.machines.state import state
from toolchain.build import ready

LOCAL = "local"
ROOT = Path(__file__).resolve().parents[2]
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class NotDeployedError(Exception):
    """There is no such stack, nothing in it, or it cannot be looked at."""


@dataclass(frozen=True)
class Stack:
    """A stack's state, and how to look into its cluster.

    Attributes:
        kubeconfig: a secret, which goes nowhere but to the API client; empty where there is no way to the API server.
        objects: the cluster's objects by kind, where they were given; None if nobody looked into the cluster.
    """

    name: str
    outputs: dict[str, Any]
    resources: list[Any]
    kubeconfig: str = ""
    objects: dict[str, list[Any]] | None = None

    def estate(self) -> Estate:
        objects = cluster_objects(self.kubeconfig) if self.kubeconfig else self.objects
        return deployed(self.outputs, self.resources, objects)


def stack(name: str) -> Stack:
    """Read a stack's state.

    Raises:
        NotDeployedError: if there is nothing to read, with the reason in one line.
    """
    # Asked before pulumi is, which would be compiled first and would then make a stack: looking changes nothing.
    if name == LOCAL and "PULUMI_BACKEND_URL" not in os.environ and not (state().directory / "pulumi/backend").is_dir():
        raise NotDeployedError("stack local is not up; `make up` starts it")
    exported = json.loads(_pulumi("stack", "export", "--stack", name))
    resources = (exported.get("deployment") or {}).get("resources") or []
    outputs = json.loads(_pulumi("stack", "output", "--stack", name, "--json", "--show-secrets"))
    missing = {"machines", "inventory", "kubeconfig"} - set(outputs)
    if missing:
        without = "" if len(missing) == 3 else f": it has no output {', '.join(sorted(missing))}"
        raise NotDeployedError(f"stack {name} is not up{without}")
    return Stack(name, outputs, resources, outputs.pop("kubeconfig"))


def exported_stack(state: Path, objects: Path | None) -> Stack:
    """A stack from files: the output of `pulumi stack export`, and of `kubectl get … --output=json`.

    Raises:
        NotDeployedError: if a file is not that, in one line.
    """
    try:
        resources = _read_json(state)["deployment"]["resources"]
        stack = next(resource for resource in resources if resource["type"] == "pulumi:pulumi:Stack")
        outputs = {key: stack["outputs"][key] for key in ("machines", "inventory")}
    except (KeyError, TypeError, StopIteration):
        raise NotDeployedError(f"{state}: is not what `pulumi stack export` prints of a platform that is up") from None
    name = stack["urn"].removeprefix("urn:pulumi:").partition("::")[0]
    return Stack(name, outputs, resources, objects=_read_objects(objects) if objects else None)


def _read_objects(file: Path) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {plural: [] for plural in KINDS}
    plurals = {kind: plural for plural, (kind, _) in KINDS.items()}
    try:
        for item in _read_json(file)["items"]:
            if item["kind"] in plurals:
                found[plurals[item["kind"]]].append(item)
    except (KeyError, TypeError):
        raise NotDeployedError(f"{file}: is not a list of objects as `kubectl get --output=json` prints it") from None
    return found


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise NotDeployedError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise NotDeployedError(f"{file}: is not JSON") from None


def cluster_objects(kubeconfig: str) -> dict[str, list[Any]]:
    """The cluster's objects by kind. Of secrets only the names are asked for, so no value leaves the API server."""
    # Takes a second to import, which commands on a plan should not wait for.
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    load: Any = config.new_client_from_config_dict
    try:
        with load(yaml.safe_load(kubeconfig)) as api:
            return {plural: _list(api, f"{group}/{plural}") for plural, (_, group) in KINDS.items()}
    except (client.ApiException, config.ConfigException, HTTPError) as error:
        reason = getattr(error, "reason", None) or error
        words = f"the cluster cannot be looked at from here; --state and --objects take it from files ({reason})"
        raise NotDeployedError(words) from None


def _list(api: Any, path: str) -> list[Any]:
    response = api.call_api(
        *api.param_serialize(
            "GET",
            path,
            header_params={"Accept": _METADATA_ONLY if path.endswith("/secrets") else "application/json"},
            auth_settings=["BearerToken"],
        ),
        _request_timeout=(5, 30),
    )
    response.read()
    return json.loads(response.data)["items"]


def _pulumi(*arguments: str) -> str:
    launcher = ROOT / ".tools/bin/pulumi"
    if not launcher.exists() or not ready("pulumi"):
        raise NotDeployedError("there is no pulumi yet to ask for its stacks; `make up` builds it")
    run = subprocess.run(
        [str(launcher), *arguments, "--non-interactive"],
        cwd=ROOT,
        env=os.environ | {"PULUMI_SKIP_UPDATE_CHECK": "true"},
        capture_output=True,
        text=True,
    )
    if run.returncode:
        words = [line for line in run.stderr.splitlines() if line.strip()] or ["pulumi failed"]
        raise NotDeployedError(words[-1].removeprefix("error: "))
    return run.stdout
