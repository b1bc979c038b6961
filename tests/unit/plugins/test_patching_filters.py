"""Filters of the patching role."""

import datetime
import json

import pytest
import yaml

from plugins.filter.patching import (
    cves_by_update,
    cves_closed,
    cves_of_both,
    died,
    evidence_of_attempt,
    evidence_of_nothing,
    fleet_summary,
    last_attempt,
    node_is_cordoned_by,
    node_is_ready,
    package_changes,
    patching_fact,
    run_of_day,
    since_attempt,
    state_told,
    what_was_said,
    window_faults,
)

NIGHT = {"from": "22:00", "until": "04:00", "days": ["sat"]}


@pytest.mark.parametrize(
    ("now", "is_open"),
    [
        ("2026-11-21T22:00:00", True),  # Saturday
        ("2026-11-22T03:59:00", True),  # Sunday before dawn still belongs to Saturday's window
        ("2026-11-22T04:00:00", False),
        ("2026-11-22T22:30:00", False),
        ("2026-11-21T03:00:00", False),
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_on_which_it_opened(now, is_open):
    assert (window_faults(now, NIGHT, []) == []) is is_open
    without_quotes = NIGHT | {key: yaml.safe_load(NIGHT[key]) for key in ("from", "until")}
    assert window_faults(now, without_quotes, []) == window_faults(now, NIGHT, [])


def test_a_blackout_closes_an_open_window():
    blackout = {"from": "2026-12-20T00:00:00", "until": "2027-01-04T00:00:00", "reason": "year's end"}
    assert "blackout until 2027-01-04T00:00:00: year's end" in window_faults("2026-12-24T12:00:00", {}, [blackout])[0]
    assert window_faults("2027-01-04T00:00:00", {}, [blackout]) == []


def test_a_blackout_may_name_its_zone():
    def local(moment):
        return moment.astimezone().replace(tzinfo=None).isoformat()

    start = datetime.datetime(2026, 12, 20, tzinfo=datetime.UTC)
    blackout = {"from": "2026-12-20T00:00:00Z", "until": "2026-12-20T02:00:00+01:00"}
    assert window_faults(local(start), {}, [blackout])
    assert window_faults(local(start + datetime.timedelta(hours=1)), {}, [blackout]) == []


def test_changes_name_what_came_went_and_moved():
    assert package_changes({"a": "1", "b": "1", "c": "1"}, {"a": "2", "c": "1", "d": "1"}) == [
        {"name": "a", "from": "1", "to": "2"},
        {"name": "b", "from": "1", "to": None},
        {"name": "d", "from": None, "to": "1"},
    ]


def state(*running, failed=(), standing=(), unneeded=(), called=()):
    found = {"running": running, "failed_units": failed, "standing": standing, "unneeded": unneeded, "called": called}
    return {kind: list(names) for kind, names in found.items()}


def test_a_service_that_died_is_told_from_one_that_comes_and_goes():
    before = state("a.service", "user@0.service", "b.service")
    assert died(before, state("b.service", "c.service"), ["user@*"]) == ["a.service"]


def test_what_stood_without_a_process_has_to_stand_or_run_unless_its_conditions_say_that_nobody_needs_it():
    before = state(
        standing=["firewall.service", "first-boot.service", "api.socket", "old.service", "snap-demo-1.mount"]
    )
    after = state("old.service", standing=["api.socket"], unneeded=["first-boot.service"])
    assert died(before, after, ["snap-*.mount"]) == ["firewall.service"]


def test_what_only_a_caller_starts_is_not_missed_where_it_was_counted_as_running_before():
    """As by evidence of an attempt that has not told it apart, or where the unit that wanted it has gone."""
    assert died(state("polkit.service", "a.service"), state(called=["polkit.service"]), []) == ["a.service"]


def test_a_service_that_has_left_only_its_unit_behind_has_died():
    assert died(state("a.service"), state(standing=["a.service"]), []) == ["a.service"]


def test_a_pattern_of_the_command_line_is_one_and_not_its_letters():
    before = state("a.service", "user@0.service", "b.service")
    assert died(before, state(), "user@*,b*") == ["a.service"]


def test_a_unit_of_any_kind_that_has_failed_since_is_told_from_one_that_had_failed_before():
    before, after = state(failed=["old.mount"]), state(failed=["old.mount", "new.mount", "apt-daily.service"])
    assert died(before, after, ["apt-daily*.service"]) == ["new.mount"]


def test_the_summary_counts_each_cve_once():
    def host(name, result, cves):
        changes = [{"name": "libc6:amd64", "from": "1", "to": "2"}]
        pending = [{"name": "libc6", "to": "2", "left": None}, {"name": f"only-{name}", "to": "3", "left": None}]
        pending += [{"name": "young", "to": "2", "left": "phasing"}, {"name": "kept", "to": "2", "left": "held"}]
        pending += [{"name": "needs", "to": "2", "left": "held back"}]
        known = {"host": name, "run": "r", "result": result, "rebooted": False, "cves": {"closed": cves}}
        return {**known, "changes": changes, "pending": pending}

    summary = fleet_summary(
        [host("b", "failed", {"x": ["CVE-2026-1111"]}), host("a", "patched", {"y": ["CVE-2026-1111"]})]
    )
    assert summary["cves_closed"] == ["CVE-2026-1111"] and summary["failed"] == ["b"]
    assert list(summary["hosts"]) == ["a", "b"] and summary["packages_changed"] == 2
    assert fleet_summary([host("c", "begun", {})])["unfinished"] == ["c"], "a machine that was lost is not told"
    assert summary["unfinished"] == [] and summary["packages_missing"] == {
        "a": ["only-a", "needs"],
        "b": ["only-b", "needs"],
    }


def test_a_node_is_ready_only_once_its_kubelet_has_said_so_anew():
    def seen(renewed, ready):
        node = {"kind": "Node", "status": {"conditions": [{"type": "Ready", "status": ready}]}}
        return {"items": [node, {"kind": "Lease", "spec": {"renewTime": renewed}}]}

    before = seen("2026-11-24T10:00:00Z", "True")
    assert node_is_ready(seen("2026-11-24T10:00:10Z", "True"), before)
    assert not node_is_ready(before, before), "the state from before the reboot counts as ready"
    assert not node_is_ready(seen("2026-11-24T10:00:10Z", "Unknown"), before)


def test_a_cordon_is_the_managers_who_owns_the_field_now():
    """As the API server tells it: the field leaves its owner with `kubectl uncordon`, and is whose who sets it next."""

    def seen(*entries):
        return {"items": [{"kind": "Lease"}, {"kind": "Node", "metadata": {"managedFields": list(entries)}}]}

    cordon = {"fieldsV1": {"f:spec": {"f:unschedulable": {}}}}
    ours, operators = {"manager": "ours", **cordon}, {"manager": "kubectl", **cordon}
    elsewhere = {"manager": "ours", "fieldsV1": {"f:metadata": {"f:annotations": {}}}}
    assert node_is_cordoned_by(seen({"manager": "kubelet"}, ours), "ours")
    assert not node_is_cordoned_by(seen(elsewhere, operators), "ours"), "an operator's cordon is undone"
    assert not node_is_cordoned_by(seen(elsewhere), "ours")


FAILED = {
    "result": "failed",
    "packages": {"before": {"demo": "1.0"}},
    "services": {"before": ["demo.service"], "standing_before": ["demo.socket"], "failed_before": []},
    "holds": ["kept"],
}
NOW = {
    "packages": {"demo": "1.1"},
    "running": ["ssh.service"],
    "standing": [],
    "called": [],
    "unneeded": [],
    "failed_units": ["demo.service"],
    "holds": [],
    "reboot": [],
}


def test_a_service_that_a_failed_attempt_killed_is_still_missed_by_the_next_one():
    before = since_attempt(NOW, FAILED)
    assert died(before, NOW, []) == ["demo.service", "demo.socket"]
    assert before["failed_units"] == [], "what the failed attempt let fail would pass for an old failure"
    assert before["packages"] == {"demo": "1.0"}, "what the failed attempt changed is lost from the evidence"
    assert before["holds"] == [], "a hold that the operator sets between two attempts fails each of them"


def test_a_machine_that_was_lost_is_judged_as_one_that_failed():
    assert since_attempt(NOW, {**FAILED, "result": "begun"}) == since_attempt(NOW, FAILED)


def test_a_second_run_of_the_same_name_keeps_the_evidence_of_the_first_but_not_its_services():
    before = since_attempt(NOW, {**FAILED, "result": "patched"})
    assert before["packages"] == {"demo": "1.0"} and before["running"] == ["ssh.service"] and before["holds"] == []
    assert since_attempt(NOW, {}) == NOW
    assert since_attempt(NOW, {**FAILED, "packages": {"before": {}}}) == NOW, "it failed before it had looked"


def test_what_an_attempt_has_seen_is_read_back_from_its_evidence():
    evidence = {**FAILED, "reboot_pending": ["kernel"]}
    evidence["packages"] = {"before": {"demo": "1.0"}, "after": {"demo": "1.1"}}
    evidence["services"] = {**FAILED["services"], "after": [], "failed_before": ["old.mount"]}
    before, after = (state_told(evidence, when) for when in ("before", "after"))
    assert (before["packages"], after["packages"]) == ({"demo": "1.0"}, {"demo": "1.1"})
    assert (before["running"], after["running"]) == (["demo.service"], [])
    assert (before["standing"], before["failed_units"]) == (["demo.socket"], ["old.mount"])
    assert before["holds"] == ["kept"] and after["reboot"] == ["kernel"]
    assert state_told({}, "before") == {}
    assert state_told({**evidence, "packages": {"before": {}, "after": {}}}, "before") == {}, "it had not looked"


def test_a_machine_that_was_not_reached_is_in_the_summary():
    summary = fleet_summary([evidence_of_nothing("a", "r")])
    assert summary["hosts"] == {"a": "unreached"} and summary["unfinished"] == ["a"] and summary["run"] == "r"


def test_what_failed_in_a_loop_is_told():
    failed = {"failed": True, "msg": "non-zero return code", "stdout": "", "stderr": "psql: no such role"}
    told = what_was_said({"msg": "One or more items failed", "results": [{"failed": False, "msg": "fine"}, failed]})
    assert told == "non-zero return code: psql: no such role"
    assert what_was_said({"msg": ["no space", "no time"]}) == "no space; no time"
    assert what_was_said({"msg": "apt failed", "results": ["E: no space"]}) == "apt failed"
    assert what_was_said({"msg": "apt failed"}) == "apt failed" and what_was_said({}) == "unknown"


def test_what_ansible_is_not_to_log_does_not_reach_the_evidence():
    secret = {"failed": True, "_ansible_no_log": True, "msg": "wrong password: 1234", "stderr": "1234"}
    assert what_was_said(secret) == "hidden by no_log"
    open_turn = {"failed": True, "_ansible_no_log": False, "msg": "no such role"}
    told = what_was_said({"msg": "One or more items failed", "results": [open_turn, secret]})
    assert told == "no such role; hidden by no_log"


def test_a_report_is_no_attempt(tmp_path):
    file = tmp_path / "host.json"
    assert evidence_of_attempt(str(file)) == {}
    for result, counts in (
        ("reported", False),
        ("failed", True),
        ("patched", True),
        ("begun", True),
        ("unreached", False),
    ):
        file.write_text(json.dumps({"result": result}))
        assert bool(evidence_of_attempt(str(file))) is counts


@pytest.fixture
def attempt(tmp_path):
    """Adds what an attempt has left, if any; tells which run is the next one then."""

    def add(run="", host="", result="", started="2026-11-25T20:00:00Z", now="2026-11-25T21:00:00Z", scope="all"):
        if run:
            (tmp_path / run).mkdir(exist_ok=True)
            (tmp_path / run / f"{host}.json").write_text(
                json.dumps({"result": result, "started": started, "asked": scope})
            )
        return run_of_day(str(tmp_path), now, ["a", "b"], {"a": "all"})

    return add


def test_a_day_has_another_run_once_all_hosts_were_patched_in_the_last_one(attempt):
    assert attempt() == "2026-11-25"
    assert attempt("2026-11-25", "a", "patched") == "2026-11-25", "b is not patched yet"
    assert attempt("2026-11-25", "b", "begun") == "2026-11-25", "b was lost, and its evidence with it"
    assert attempt("2026-11-25", "b", "patched") == "2026-11-25-2", "what is pending now would wait until tomorrow"
    assert attempt("2026-11-25-2", "a", "failed") == "2026-11-25-2"


def test_a_day_has_another_run_where_the_last_one_was_asked_for_something_else(attempt):
    assert attempt("2026-11-25", "a", "patched", scope="named") == "2026-11-25-2"
    assert attempt("2026-11-25-2", "a", "patched") == "2026-11-25-2", "b is not patched yet"
    assert attempt("2026-11-25-2", "b", "failed", scope="named") == "2026-11-25-2", (
        "b is lost, and not asked for anything"
    )


def test_a_run_goes_on_past_midnight_and_is_not_taken_up_by_that_of_the_next_evening(attempt):
    for host in ("a", "b"):
        attempt("2026-11-25", host, "patched")
    assert attempt(now="2026-11-26T00:30:00Z") == "2026-11-26", "there is nothing to go on with"
    attempt("2026-11-25-2", "b", "patched")
    attempt("2026-11-25-2", "a", "failed", started="2026-11-25T23:50:00Z")
    assert attempt(now="2026-11-26T00:30:00Z") == "2026-11-25-2"
    assert attempt(now="2026-11-26T20:00:00Z") == "2026-11-26", "who was patched yesterday would wait another day"
    assert attempt("2026-11-26", "a", "failed", now="2026-11-26T00:40:00Z") == "2026-11-26"
    for host in ("a", "b"):
        attempt("2026-11-26", host, "patched")
    assert attempt(now="2026-11-26T00:50:00Z") == "2026-11-26-2", "it is older than the run that patched all since"


def test_who_was_lost_in_a_run_is_known_to_the_next_one_whatever_its_name(attempt, tmp_path):
    def left():
        return last_attempt(str(tmp_path), "a").get("result")

    assert left() is None
    attempt("2026-11-24", "a", "patched", started="2026-11-24T20:00:00Z")
    attempt("nightly", "a", "begun", started="2026-11-25T02:00:00Z")
    attempt("2026-11-26", "a", "unreached", started="2026-11-26T02:00:00Z")
    attempt("2026-11-26-report", "a", "failed", started="2026-11-26T02:00:00Z")
    attempt("2026-11-26", "b", "patched", started="2026-11-26T02:00:00Z")
    assert left() == "begun"
    attempt("2026-11-26", "a", "patched", started="2026-11-26T02:00:00Z")
    assert left() == "patched"


A, B = "CVE-2026-1111", "CVE-2026-2222"


def changed(to):
    return [{"name": "demo:amd64", "from": "1", "to": to}]


def test_only_updates_that_were_made_close_cves():
    pending = [{"name": "demo", "from": "1", "to": "2", "left": None}]
    found = cves_by_update(
        {"demo": [A]}, [*pending, {**pending[0], "name": "other"}, {**pending[0], "to": "9", "left": "held"}]
    )
    assert found == {"demo=2": [A]}
    assert cves_closed(found, changed("2"), pending, {}) == {"demo": [A]}
    assert cves_closed(found, changed("1.5"), pending, {}) == {} == cves_closed(found, [], pending, {})


def test_an_update_that_a_later_attempt_found_and_did_not_make_closes_nothing():
    found = {"demo=2": [A], "demo=3": [B]}
    assert cves_closed(found, changed("2"), [{"name": "demo", "from": "2", "to": "3"}], {"demo": [A]}) == {"demo": [A]}
    assert cves_closed(found, changed("3"), [], {"demo": [A], "undone": [B]}) == {"demo": [A, B]}


def test_what_a_lost_attempt_has_closed_is_known_by_where_the_next_one_begins():
    """Its evidence is from before, and the next one goes on to another version."""
    found = {"demo=2": [A], "demo=3": [B]}
    assert cves_closed(found, changed("3"), [{"name": "demo", "from": "2", "to": "3"}], {}) == {"demo": [A, B]}


def test_an_attempt_that_goes_on_with_a_package_loses_none_of_the_cves_of_the_former_one():
    former = {"demo": ["CVE-2026-1111"], "done": ["CVE-2026-3333"]}
    assert cves_of_both(former, {"demo": ["CVE-2026-2222"]}) == {
        "demo": ["CVE-2026-1111", "CVE-2026-2222"],
        "done": ["CVE-2026-3333"],
    }


def test_what_is_still_phased_in_is_not_missing():
    pending = [{"name": name, "left": left} for name, left in (("a", None), ("b", "phasing"), ("c", "held"))]
    known = {"ended": "2026-11-24T10:00:00Z", "run": "r", "scope": "all", "reboot_pending": []}
    fact = patching_fact({**known, "pending": pending})
    assert fact["left"] == ["c"] and fact["last"] == "2026-11-24T10:00:00Z"
