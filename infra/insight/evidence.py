"""What tests, patch runs and scans have left behind; whatever has left nothing is not known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "benchmarks/roles/hardening"


@dataclass(frozen=True)
class Evidence:
    """
    Attributes:
        connections: how many connections behaved as the graph says, and which did not.
        lost, noisy: what was predicted of a machine, and what happened.
        patched: when each machine was last patched.
        scanned: scores of machines of this platform, by name.
        baseline: scores of stock and hardened machines by release and driver, as they were recorded.
        waivers: rules that hardened machines may break.
    """

    connections: Mapping[str, Any] | None = None
    lost: tuple[Mapping[str, Any], ...] = ()
    noisy: tuple[Mapping[str, Any], ...] = ()
    patched: Mapping[str, datetime] = field(default_factory=dict)
    scanned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    baseline: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    waivers: tuple[Mapping[str, Any], ...] = ()


def read_evidence(directory: Path, baseline: Path = BASELINE) -> Evidence:
    """Read a platform's evidence directory, and the scores and waivers that come with the roles.

    Args:
        directory: with `blast-radius/*.json` (tests), `patching/<run>/<host>.json` (playbooks/patch.yml) and
            `hosts/*.json` (scans), where they are.
    """
    connections = directory / "blast-radius/connections.json"
    waivers = baseline / "waivers.yml"
    return Evidence(
        _read(connections) if connections.is_file() else None,
        tuple(map(_read, sorted(directory.glob("blast-radius/lost-*.json")))),
        tuple(map(_read, sorted(directory.glob("blast-radius/noisy-*.json")))),
        _last_patched(directory),
        {one["name"]: one for one in map(_read, sorted(directory.glob("hosts/*.json")))},
        {file.stem: _read(file) for file in sorted((baseline / "results").glob("*.json"))},
        tuple(yaml.safe_load(waivers.read_text())["hardening_waivers"]) if waivers.is_file() else (),
    )


def _last_patched(directory: Path) -> dict[str, datetime]:
    """When each host was last patched; a run that failed, only reported, or was for some packages, does not count."""
    patched: dict[str, datetime] = {}
    for file in directory.glob("patching/*/*.json"):
        one = _read(file)
        if one.get("result") == "patched" and one.get("scope") != "named":
            ended = datetime.fromisoformat(one["ended"])
            patched[one["host"]] = max(ended, patched.get(one["host"], ended))
    return patched


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
