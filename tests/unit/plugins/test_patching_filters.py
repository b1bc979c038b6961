"""Filters of the patching role."""

import pytest

from plugins.filter.patching import died, fleet_summary, node_is_ready, package_changes, pin, window_faults

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


def test_a_blackout_closes_an_open_window():
    blackout = {"from": "2026-12-20T00:00:00", "until": "2027-01-04T00:00:00", "reason": "year's end"}
    assert "blackout until 2027-01-04T00:00:00: year's end" in window_faults("2026-12-24T12:00:00", {}, [blackout])[0]
    assert window_faults("2027-01-04T00:00:00", {}, [blackout]) == []


def test_changes_name_what_came_went_and_moved():
    assert package_changes({"a": "1", "b": "1", "c": "1"}, {"a": "2", "c": "1", "d": "1"}) == [
        {"name": "a", "from": "1", "to": "2"},
        {"name": "b", "from": "1", "to": None},
        {"name": "d", "from": None, "to": "1"},
    ]


def test_a_service_that_died_is_told_from_one_that_comes_and_goes():
    assert died(["a.service", "user@0.service", "b.service"], ["b.service", "c.service"], ["user@*"]) == ["a.service"]


def test_updates_are_pinned_with_their_architecture():
    assert pin({"full_name": "libc6:amd64", "to": "2.41-12"}) == "libc6:amd64=2.41-12"


def test_the_summary_counts_each_cve_once():
    def host(name, result, cves):
        return {"host": name, "run": "r", "result": result, "rebooted": False, "changes": [1], "cves": {"closed": cves}}

    summary = fleet_summary(
        [host("b", "failed", {"x": ["CVE-2026-1111"]}), host("a", "patched", {"y": ["CVE-2026-1111"]})]
    )
    assert summary["cves_closed"] == ["CVE-2026-1111"] and summary["failed"] == ["b"]
    assert list(summary["hosts"]) == ["a", "b"] and summary["packages_changed"] == 2


def test_a_node_is_ready_only_once_its_kubelet_has_said_so_anew():
    def seen(renewed, ready):
        node = {"kind": "Node", "status": {"conditions": [{"type": "Ready", "status": ready}]}}
        return {"items": [node, {"kind": "Lease", "spec": {"renewTime": renewed}}]}

    before = seen("2026-11-24T10:00:00Z", "True")
    assert node_is_ready(seen("2026-11-24T10:00:10Z", "True"), before)
    assert not node_is_ready(before, before), "the state from before the reboot counts as ready"
    assert not node_is_ready(seen("2026-11-24T10:00:10Z", "Unknown"), before)
