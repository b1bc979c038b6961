"""Upkeep: how old patches and images are, what scans say, which waivers are about to run out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from infra.insight.estate import Estate, Machine
from infra.insight.evidence import Evidence
from infra.insight.live import Stack

IMAGE_SOON_DAYS = 14
WAIVER_SOON_DAYS = 30
PATCH_LATE_DAYS = 35
"""A month's window, and some days to spare."""

PROFILES = {"cis_level1_server": "CIS level 1", "anssi_bp28_intermediary": "ANSSI intermediary"}


def machines(estate: Estate, stack: Stack | None, evidence: Evidence, now: datetime) -> list[dict[str, Any]]:
    """Each deployed machine with what is known of its care; what is not known is None."""
    if estate.origin == "planned":
        return []
    built = {image: _time(manifest, "built") for _, image, manifest in _manifests(stack)}
    rows = []
    for machine in estate.machines:
        # An image is built of packages of its day, so a machine that was never patched is as old as its image.
        patched, image = evidence.patched.get(machine.name), built.get(machine.image)
        latest = max(filter(None, [patched, image]), default=None)
        rows.append(
            {
                "name": machine.name,
                "patched_days_ago": _days(latest, now),
                "patched_by": None if latest is None else "a patch run" if latest == patched else "its image",
                "score": _score(machine, evidence),
            }
        )
    return rows


def _days(then: datetime | None, now: datetime) -> int | None:
    return (now - then).days if then else None


def _score(machine: Machine, evidence: Evidence) -> dict[str, Any] | None:
    """What a scan gave: of this machine, or of another one with its release and driver that the role has hardened."""
    own = evidence.scanned.get(machine.name)
    if own:
        return {"value": own["score"], "scan": own["scan"], "day": own["day"], "of": machine.name}
    kind = f"{release_of(machine)}-{machine.driver}"
    recorded = evidence.baseline.get(kind)
    if recorded is None:
        return None
    profile, scores = next(iter(recorded["profiles"].items()))
    return {"value": scores["hardened"], "scan": PROFILES.get(profile, profile), "day": recorded["day"], "of": kind}


def release_of(machine: Machine) -> str:
    """`debian-13` of an image `debian-13-postgresql-1a2b`."""
    return "-".join(machine.image.split("-")[:2])


def scores(evidence: Evidence) -> list[dict[str, Any]]:
    """What hardening changes: a row for each recorded machine and scan."""
    rows = []
    for kind, recorded in evidence.baseline.items():
        found = {PROFILES.get(profile, profile): scan for profile, scan in recorded["profiles"].items()}
        if "lynis" in recorded:
            found["Lynis"] = {state: recorded["lynis"][state]["score"] for state in ("stock", "hardened")}
        for scan, score in found.items():
            row = {"machine": kind, "scan": scan, "stock": score["stock"], "hardened": score["hardened"]}
            rows.append({**row, "day": recorded["day"]})
    return rows


def waivers(stack: Stack | None, evidence: Evidence, today: date) -> list[dict[str, Any]]:
    """Every waiver that the deployed machines, or the recorded scores, rest on, the first to run out first."""
    found = {waiver["rule"]: waiver for waiver in (*evidence.waivers, *_of_inventory(stack))}
    rows = []
    for rule, waiver in found.items():
        left = (date.fromisoformat(str(waiver["expires"])) - today).days
        rows.append(
            {
                "rule": rule,
                "owner": waiver["owner"],
                "reason": waiver["reason"],
                "expires": str(waiver["expires"]),
                "days_left": left,
                "state": _state(left, WAIVER_SOON_DAYS),
            }
        )
    return sorted(rows, key=lambda row: (row["expires"], row["rule"]))


def _of_inventory(stack: Stack | None) -> Iterable[Mapping[str, Any]]:
    inventory = stack.outputs.get("inventory", {}).get("all", {}) if stack else {}
    for variables in (inventory.get("vars") or {}, *(inventory.get("hosts") or {}).values()):
        yield from variables.get("hardening_waivers") or ()


def images(stack: Stack | None, now: datetime) -> list[dict[str, Any]]:
    """Age and expiry of the golden images that the stack's machines run on, from the manifests beside them."""
    started_from = _started_from(stack)
    rows = []
    for name, image, known in _manifests(stack):
        built, expires = _time(known, "built"), _time(known, "expires")
        left = (expires - now).days if expires else None
        rows.append(
            {
                "name": name,
                "built": known.get("built"),
                "expires": known.get("expires"),
                "age_days": _days(built, now),
                "days_left": left,
                "state": "unknown" if left is None else _state(left, IMAGE_SOON_DAYS),
                "packages": len(known.get("packages", ())),
                "machines": sorted(machine for machine, its in started_from.items() if its == image),
            }
        )
    return rows


def _started_from(stack: Stack | None) -> dict[str, str]:
    return {name: facts.get("image", "") for name, facts in stack.outputs["machines"].items()} if stack else {}


def _manifests(stack: Stack | None) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Of each golden image in the stack its name, and what machines run on: each generation, and its manifest."""
    started_from = _started_from(stack).values()
    # On AWS a stack has no golden image of its own; its pipelines keep them.
    for resource in stack.resources if stack else ():
        path = (resource.get("outputs") or {}).get("path")
        if resource["type"].endswith(":GoldenImage") and path:
            name = resource["outputs"]["name"]
            used = {image for image in started_from if image.rpartition("-")[0] == name}
            for image in sorted(used or {Path(path).name}):
                manifest = Path(path).with_name(image) / "manifest.json"
                yield name, image, json.loads(manifest.read_text()) if manifest.is_file() else {}


def _time(known: Mapping[str, Any], key: str) -> datetime | None:
    return datetime.fromisoformat(known[key]) if known.get(key) else None


def _state(days_left: int, soon: int) -> str:
    if days_left < 0:
        return "expired"
    return "expires soon" if days_left <= soon else "current"
