# Apache-2.0 (see LICENSE)
"""Waivers: rules that a machine may break, for a reason, by someone's word, until a day."""

from __future__ import annotations

import datetime
from typing import Any

FIELDS = ("rule", "owner", "reason", "expires")


def waiver_faults(waivers: list[dict[str, Any]], today: str) -> list[str]:
    """What is wrong with the waivers, a line a fault; none when all of them hold."""
    faults = []
    for number, waiver in enumerate(waivers, start=1):
        name = f"waiver {number} ({waiver.get('rule') or 'no rule'})"
        missing = [field for field in FIELDS if not str(waiver.get(field) or "").strip()]
        if missing:
            faults.append(f"{name} does not say its {', '.join(missing)}")
            continue
        try:
            last = datetime.date.fromisoformat(str(waiver["expires"]))
        except ValueError:
            faults.append(f"{name}: expires must be a day as in 2027-01-31, not {waiver['expires']}")
            continue
        if last < datetime.date.fromisoformat(today):
            faults.append(f"{name} expired on {last}; {waiver['owner']} must fix the rule or renew it")
    rules = [waiver.get("rule") for waiver in waivers if waiver.get("rule")]
    faults += [f"{rule} is waived more than once" for rule in sorted({rule for rule in rules if rules.count(rule) > 1})]
    return faults


def score_faults(result: dict[str, Any], waivers: list[dict[str, Any]], recorded: float) -> list[str]:
    """Why a scan is not good enough: a score below the recorded one, or a rule that fails without a waiver."""
    faults = []
    if result["score"] < recorded:
        faults.append(f"the score of {result['profile']} fell from {recorded} to {result['score']}")
    waived = {waiver["rule"] for waiver in waivers}
    faults += [f"{rule} fails and is not waived" for rule in result["failed"] if rule not in waived]
    return faults


class FilterModule:
    """Filters of the hardening role."""

    def filters(self) -> dict[str, Any]:
        return {"waiver_faults": waiver_faults, "score_faults": score_faults}
