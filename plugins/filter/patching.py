# Apache-2.0 (see LICENSE)
"""What patching decides and tells, apart from the machines."""

from __future__ import annotations

import datetime
import fnmatch
import itertools
import json
from pathlib import Path
from typing import Any

# A night; whoever patches daily begins a new run, or machines that were patched would wait for another day.
RESUMED_WITHIN = datetime.timedelta(hours=12)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def window_faults(now: str, window: dict[str, Any], blackouts: list[dict[str, str]]) -> list[str]:
    """Why nothing may be patched at this moment; `now` as in 2026-11-23T02:30:00."""
    moment = datetime.datetime.fromisoformat(now)
    faults = []
    for blackout in blackouts:
        if _moment(blackout["from"]) <= moment < _moment(blackout["until"]):
            faults.append(f"there is a blackout until {blackout['until']}: {blackout.get('reason', 'no reason given')}")
    if window and not _is_open(moment, window):
        days = ", ".join(window.get("days", DAYS))
        faults.append(
            f"the window is open {_clock(window['from']):%H:%M}-{_clock(window['until']):%H:%M} on {days}, "
            f"and now it is {moment:%a %H:%M}"
        )
    return faults


def _moment(text: str) -> datetime.datetime:
    """In the time of the place where Ansible runs, as windows are; what names a zone is brought there."""
    moment = datetime.datetime.fromisoformat(str(text))
    return moment.astimezone().replace(tzinfo=None) if moment.tzinfo else moment


def _clock(value: str | int) -> datetime.time:
    """A time of day; YAML takes 22:00 without quotes for a number of minutes, by sixties."""
    return datetime.time(*divmod(value, 60)) if isinstance(value, int) else datetime.time.fromisoformat(value)


def _is_open(moment: datetime.datetime, window: dict[str, Any]) -> bool:
    """A window may go past midnight; its day is the one on which it opened."""
    start, end = (_clock(window[key]) for key in ("from", "until"))
    days = window.get("days", DAYS)
    time = moment.time()
    if start <= end:
        return start <= time < end and DAYS[moment.weekday()] in days
    if time >= start:
        return DAYS[moment.weekday()] in days
    return time < end and DAYS[moment.weekday() - 1] in days


def package_changes(before: dict[str, str], after: dict[str, str]) -> list[dict[str, Any]]:
    """What changed between two lists of packages, by name."""
    return [
        {"name": name, "from": before.get(name), "to": after.get(name)}
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def died(before: dict[str, list[str]], after: dict[str, list[str]], expected: list[str] | str) -> list[str]:
    """Services that ran and do not run now, units that stood and do not, and those that have failed since."""
    patterns = (
        expected.split(",") if isinstance(expected, str) else expected
    )  # as Ansible reads a list of the command line
    gone = set(before["running"]) - {*after["running"], *after["called"]}
    gone |= set(before["standing"]) - {*after["standing"], *after["running"], *after["unneeded"]}
    gone |= set(after["failed_units"]) - set(before["failed_units"])
    return sorted(name for name in gone if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def node_is_ready(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether a node is ready and its kubelet has said so since `before`; each is kubectl's list of node and lease."""
    node, lease = (next(one for one in now["items"] if one["kind"] == kind) for kind in ("Node", "Lease"))
    former = next(one for one in before["items"] if one["kind"] == "Lease")
    return lease["spec"]["renewTime"] != former["spec"]["renewTime"] and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in node["status"]["conditions"]
    )


def node_is_cordoned_by(looked: dict[str, Any], manager: str) -> bool:
    """Whether it is this manager of fields who has cordoned the node; `looked` is such a list, with managed fields."""
    node = next(one for one in looked["items"] if one["kind"] == "Node")
    return any(
        entry["manager"] == manager and "f:unschedulable" in entry.get("fieldsV1", {}).get("f:spec", {})
        for entry in node["metadata"].get("managedFields", [])
    )


def cves_by_update(closed: dict[str, list[str]], pending: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The CVEs that updates close, by package and version as in demo=1.1, for none counts before it was made."""
    selected = [one for one in pending if one["left"] is None and one["name"] in closed]
    return {f"{one['name']}={one['to']}": closed[one["name"]] for one in selected}


def cves_closed(
    found: dict[str, list[str]],
    changes: list[dict[str, Any]],
    pending: list[dict[str, Any]],
    former: dict[str, list[str]],
) -> dict[str, list[str]]:
    """The CVEs by package that are closed.

    Args:
        found: by update, of all attempts.
        pending: what this attempt has found; an update begins where one of a lost attempt has ended.
        former: what a former attempt has closed; it counts for packages that are still changed.
    """
    changed = [(change["name"].partition(":")[0], change["to"]) for change in changes]
    reached = [*changed, *((one["name"], one["from"]) for one in pending)]
    closed = {name: former[name] for name, _ in changed if name in former}
    for name, version in reached:
        if f"{name}={version}" in found:
            closed = cves_of_both(closed, {name: found[f"{name}={version}"]})
    return closed


def cves_of_both(former: dict[str, list[str]], found: dict[str, list[str]]) -> dict[str, list[str]]:
    """CVEs of two attempts: the second one's update may begin where the first one's ended."""
    return {name: sorted({*former.get(name, []), *found.get(name, [])}) for name in sorted({*former, *found})}


def patching_fact(evidence: dict[str, Any]) -> dict[str, Any]:
    """What the machine tells of its last patching; what is still phased in is not missing."""
    left = [one["name"] for one in evidence["pending"] if one["left"] not in (None, "phasing")]
    return {
        "last": evidence["ended"],
        "run": evidence["run"],
        "scope": evidence["scope"],
        "left": left,
        "reboot_pending": evidence["reboot_pending"],
    }


def evidence_of_attempt(path: str) -> dict[str, Any]:
    """What an earlier attempt to patch the host in this run has left, or nothing; a mere report is no attempt.

    An attempt that has begun and said no more lost its machine, or is still under way.
    """
    if not Path(path).is_file():
        return {}
    evidence: dict[str, Any] = json.loads(Path(path).read_text())
    return evidence if evidence["result"] in ("patched", "failed", "begun") else {}


def last_attempt(directory: str, host: str) -> dict[str, Any]:
    """The last attempt to patch the host in any run, or nothing. A report, also a failed one, is none."""
    runs = [run for run in Path(directory).glob("*") if not run.name.endswith("-report")]
    attempts = [evidence_of_attempt(str(run / f"{host}.json")) for run in runs]
    return max(filter(None, attempts), key=lambda one: one["started"], default={})


def evidence_of_nothing(host: str, run: str) -> dict[str, Any]:
    """What stands for a host of which nothing is known in the run."""
    nothing: dict[str, Any] = {"changes": [], "pending": [], "cves": {"closed": {}}, "rebooted": False}
    return {"host": host, "run": run, "result": "unreached", "fault": "The machine was not reached.", **nothing}


def what_was_said(result: dict[str, Any]) -> str:
    """What a failed task said, and of a loop every turn that failed; other modules have `results` of other kinds."""
    turns = result.get("results")
    failed = [one for one in turns if isinstance(one, dict) and one.get("failed")] if isinstance(turns, list) else []
    return "; ".join(_said(one) for one in failed or [result])


def _said(result: dict[str, Any]) -> str:
    """Ansible hides only from the screen what `no_log` is to hide."""
    if result.get("_ansible_no_log"):
        return "hidden by no_log"
    said = (result.get("msg", "unknown"), result.get("stdout"), result.get("stderr"))
    return ": ".join("; ".join(map(str, one)) if isinstance(one, list) else str(one) for one in said if one)


def run_of_day(directory: str, now: str, hosts: list[str], asked: dict[str, Any]) -> str:
    """The first run of a day, as in 2026-11-25 or 2026-11-25-2, that was asked for the same and has not patched all of
    the hosts yet; soon after midnight that of the evening before, if it has begun.

    Args:
        now: as in 2026-11-25T02:30:00Z.
        asked: what is asked of each of the hosts now, as in its evidence; of one that is lost nobody knows.
    """
    moment = datetime.datetime.fromisoformat(now)
    run, attempts = _first_unfinished(directory, f"{moment:%F}", hosts, asked)
    if attempts or run != f"{moment:%F}":
        return run
    former, attempts = _first_unfinished(directory, f"{moment - datetime.timedelta(days=1):%F}", hosts, asked)
    begun = max((datetime.datetime.fromisoformat(one["started"]) for one in attempts), default=None)
    return former if begun and moment - begun < RESUMED_WITHIN else run


def _first_unfinished(
    directory: str, day: str, hosts: list[str], asked: dict[str, Any]
) -> tuple[str, list[dict[str, Any]]]:
    """The first run of a day that was asked for the same and has not patched all of the hosts, and its attempts."""
    for number in itertools.count(1):
        run = day if number == 1 else f"{day}-{number}"
        attempts = {host: evidence_of_attempt(f"{directory}/{run}/{host}.json") for host in hosts}
        begun = {host: one for host, one in attempts.items() if one}
        if any(one.get("asked") != asked[host] for host, one in begun.items() if host in asked):
            continue
        if {one.get("result") for one in attempts.values()} != {"patched"}:
            return run, list(begun.values())
    raise AssertionError("numbers do not end")


def state_told(evidence: dict[str, Any], when: str) -> dict[str, Any]:
    """How a host was `before` or `after` an attempt, by what the attempt has left as evidence, if any."""
    if not evidence or not evidence["packages"]["before"]:
        return {}
    return {
        "packages": evidence["packages"][when],
        "running": evidence["services"][when],
        "standing": evidence["services"]["standing_before"],
        "failed_units": evidence["services"]["failed_before"],
        "holds": evidence["holds"],
        "reboot": evidence["reboot_pending"],
    }


def since_attempt(state: dict[str, Any], former: dict[str, Any]) -> dict[str, Any]:
    """A host's state before, with packages as they were before the run's first attempt; after a failed one services,
    too, for they have to run as before. Holds are the operator's, who may set one between two attempts."""
    if not former or not former["packages"]["before"]:
        return state
    packages = {"packages": former["packages"]["before"]}
    if former["result"] == "patched":
        return {**state, **packages}
    services = former["services"]
    return {
        **state,
        **packages,
        "running": sorted({*state["running"], *services["before"]}),
        "standing": sorted({*state["standing"], *services["standing_before"]}),
        "failed_units": services["failed_before"],
    }


def evidence_of_run(directory: str) -> list[Any]:
    """The evidence of each host of a run."""
    return [json.loads(file.read_text()) for file in sorted(Path(directory).glob("*.json")) if file.stem != "summary"]


def missing_of(evidence: dict[str, Any]) -> list[str]:
    """Updates in scope that the host has not got; what was left on purpose or is still phased in is not missing."""
    applied = {(change["name"].partition(":")[0], change["to"]) for change in evidence["changes"]}
    wanted = [one for one in evidence["pending"] if one["left"] in (None, "held back")]
    return [one["name"] for one in wanted if (one["name"], one["to"]) not in applied]


def fleet_summary(evidence: list[dict[str, Any]]) -> dict[str, Any]:
    """One run over all hosts."""
    hosts = sorted(evidence, key=lambda one: one["host"])
    closed = sorted({cve for one in hosts for cves in one["cves"]["closed"].values() for cve in cves})
    return {
        "run": hosts[0]["run"] if hosts else None,
        "hosts": {one["host"]: one["result"] for one in hosts},
        "failed": [one["host"] for one in hosts if one["result"] == "failed"],
        "unfinished": [one["host"] for one in hosts if one["result"] in ("begun", "unreached")],
        "rebooted": [one["host"] for one in hosts if one["rebooted"]],
        "packages_changed": sum(len(one["changes"]) for one in hosts),
        "packages_missing": {one["host"]: missing for one in hosts if (missing := missing_of(one))},
        "cves_closed": closed,
    }


class FilterModule:
    """Filters of the patching role."""

    def filters(self) -> dict[str, Any]:
        return {
            "window_faults": window_faults,
            "package_changes": package_changes,
            "died": died,
            "node_is_ready": node_is_ready,
            "node_is_cordoned_by": node_is_cordoned_by,
            "evidence_of_attempt": evidence_of_attempt,
            "last_attempt": last_attempt,
            "run_of_day": run_of_day,
            "since_attempt": since_attempt,
            "state_told": state_told,
            "evidence_of_nothing": evidence_of_nothing,
            "evidence_of_run": evidence_of_run,
            "what_was_said": what_was_said,
            "cves_by_update": cves_by_update,
            "cves_closed": cves_closed,
            "cves_of_both": cves_of_both,
            "patching_fact": patching_fact,
            "missing_of": missing_of,
            "fleet_summary": fleet_summary,
        }
