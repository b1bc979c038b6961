"""What a team should look at first: everything on the page that is wrong, late or not known, in one list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.insight.care import PATCH_LATE_DAYS
from infra.insight.cost import staleness

LEVELS = ("bad", "warn", "unknown")


def attention(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """One line each, the worst first; `section` is where the page says more."""
    found = [{"level": level, "text": text, "section": section} for level, text, section in _all(data)]
    return sorted(found, key=lambda one: LEVELS.index(one["level"]))


def _all(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield from _of_the_picture(data)
    for workload in data["workloads"]:
        if workload["review_overdue"]:
            yield "bad", f"{workload['name']}: its review was due on {workload['review_on']}", "decisions"
    for line in data["over_budget"]:
        yield "bad", f"over its blast-radius budget: {line}", "blast"
    yield from _of_the_checks(data["checked"])
    if data["cost"]["stale"]:
        yield "warn", staleness(data["cost"]["stale"]), "cost"
    yield from _of_upkeep(data)


def _of_the_picture(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for line in data["drift"]["placement"]:
        yield "bad", line, "picture"
    for line in data["drift"]["open_but_not_meant"]:
        yield "bad", f"open, but nobody meant it: {line}", "picture"
    for line in data["drift"]["meant_but_closed"]:
        yield "bad", f"meant, but closed: {line}", "picture"
    if data["unseen"]:
        yield "unknown", f"not looked at: {data['unseen']}", "picture"


def _of_the_checks(checked: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    connections = checked["connections"]
    for line in connections["differ"] if connections else ():
        yield "bad", f"not as the graph says: {line}", "blast"
    for lost in checked["lost"]:
        if lost["predicted"] != lost["happened"]:
            yield "bad", f"{lost['machine']} was lost, and not only what was predicted fell", "blast"


def _of_upkeep(data: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for image in data["images"]:
        if image["state"] == "expired":
            on_it = ", ".join(image["machines"]) or "no machine"
            yield "bad", f"image {image['name']} has expired on {image['expires'][:10]}; {on_it} runs on it", "care"
        elif image["state"] == "expires soon":
            yield "warn", f"image {image['name']} expires in {image['days_left']} days", "care"
    for waiver in data["waivers"]:
        if waiver["state"] == "expired":
            yield (
                "bad",
                f"the waiver of {waiver['rule']} has expired; {waiver['owner']} must fix it or renew it",
                "care",
            )
        elif waiver["state"] == "expires soon":
            yield "warn", f"the waiver of {waiver['rule']} expires in {waiver['days_left']} days", "care"
    for machine in data["hosts"]:
        if (machine["patched_days_ago"] or 0) > PATCH_LATE_DAYS:
            yield "warn", f"{machine['name']} has had no new packages for {machine['patched_days_ago']} days", "care"
    for what, key in (("when it was patched", "patched_days_ago"), ("a scan of its compliance", "score")):
        unknown = [machine["name"] for machine in data["hosts"] if machine[key] is None]
        if unknown:
            yield "unknown", f"no evidence of {what}: {', '.join(unknown)}", "care"
