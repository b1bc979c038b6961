"""The gate on the scores of the hardening role: what a measurement must not be worse than."""

import copy
import datetime
import importlib.util
from pathlib import Path

import pytest

from plugins.filter.waivers import waiver_faults

FILE = Path(__file__).resolve().parents[2] / "benchmarks/roles/hardening/scores.py"
specification = importlib.util.spec_from_file_location("hardening_scores", FILE)
scores = importlib.util.module_from_spec(specification)
specification.loader.exec_module(scores)

WAIVERS = [{"rule": "waived", "owner": "ann", "reason": "a test", "expires": "2099-12-31"}]


def lynis(score):
    return {"score": score, "warnings": [], "suggestions": []}


@pytest.fixture
def measured():
    rules = {"good": "pass pass", "mended": "fail pass", "waived": "fail fail", "other": "notapplicable notapplicable"}
    profiles = {profile: {"stock": 70.5, "hardened": 88.2, "rules": dict(rules)} for profile in scores.PROFILES}
    return {
        "machine": "debian-13-nspawn",
        "profiles": profiles,
        "lynis": {"stock": lynis(60), "hardened": lynis(85)},
    }


def with_rule(measured, rule, outcomes):
    measured["profiles"]["cis_level1_server"]["rules"][rule] = outcomes
    return measured


def test_a_measurement_like_the_record_is_good_enough(measured):
    assert scores.faults(measured, copy.deepcopy(measured), WAIVERS, {}) == []


def test_a_lower_score_is_a_fault(measured):
    recorded = copy.deepcopy(measured)
    measured["profiles"]["cis_level1_server"]["hardened"] = 88.1
    assert scores.faults(measured, recorded, WAIVERS, {}) == [
        "debian-13-nspawn: the score of CIS level 1 server fell from 88.2 to 88.1"
    ]


def test_a_lower_index_of_lynis_is_a_fault(measured):
    recorded = copy.deepcopy(measured)
    measured["lynis"]["hardened"] = lynis(84)
    assert scores.faults(measured, recorded, WAIVERS, {}) == ["debian-13-nspawn: the index of Lynis fell from 85 to 84"]


def test_a_failure_without_a_waiver_is_a_fault(measured):
    found = scores.faults(with_rule(measured, "new", "fail fail"), None, WAIVERS, {})
    assert found == ["debian-13-nspawn: new fails and is not waived"]


def test_a_waiver_for_other_machines_is_none(measured):
    there = [waiver | {"machines": "*-qemu"} for waiver in WAIVERS]
    assert "debian-13-nspawn: waived fails and is not waived" in scores.faults(measured, None, there, {})
    assert scores.faults(measured | {"machine": "debian-13-qemu"}, None, there, {}) == []


def test_what_passed_before_hardening_must_pass_after_even_if_it_is_waived(measured):
    found = scores.faults(with_rule(measured, "waived", "pass fail"), None, WAIVERS, {})
    assert found == ["debian-13-nspawn: waived passed before and fails after"]


def test_what_was_recorded_as_passing_must_go_on_passing_even_if_it_is_waived(measured):
    recorded = with_rule(copy.deepcopy(measured), "waived", "fail pass")
    found = scores.faults(measured, recorded, WAIVERS, {})
    assert found == ["debian-13-nspawn: waived passed after hardening when it was recorded, and fails now"]


def test_a_warning_that_lynis_did_not_give_before_is_a_fault(measured):
    measured["lynis"]["stock"]["warnings"], measured["lynis"]["hardened"]["warnings"] = ["OLD-1"], ["NEW-1", "OLD-1"]
    assert scores.faults(measured, None, WAIVERS, {}) == ["debian-13-nspawn: Lynis warns of NEW-1, and did not before"]


def test_a_suggestion_of_lynis_without_a_reason_against_it_is_a_fault(measured):
    measured["lynis"]["hardened"]["suggestions"] = ["NEW-1000"]
    found = scores.faults(measured, None, WAIVERS, {})
    assert found == ["debian-13-nspawn: Lynis suggests NEW-1000, and nothing says why it is not done"]
    assert scores.faults(measured, None, WAIVERS, {"NEW-1000": "a test"}) == []


def test_an_error_of_the_scanner_is_no_pass_unless_it_is_waived(measured):
    assert scores.faults(with_rule(measured, "waived", "error error"), None, WAIVERS, {}) == []
    found = scores.faults(with_rule(measured, "strange", "pass error"), None, WAIVERS, {})
    assert found == ["debian-13-nspawn: strange ended as error"]


@pytest.mark.parametrize("result", scores.recorded_results().values(), ids=scores.recorded_results().keys())
def test_the_published_scores_pass_the_gate_and_are_in_the_table(result):
    assert scores.faults(result, result, scores.waivers(), scores.lynis_unheeded()) == []
    assert f"| {result['machine']} | CIS level 1 server | " in (scores.HERE / "scores.md").read_text()


def test_the_published_table_is_written_from_the_results_and_the_waivers():
    assert (scores.HERE / "scores.md").read_text() == scores.table(
        scores.recorded_results(), scores.waivers(), scores.lynis_unheeded()
    )


def test_every_waiver_of_the_published_scores_holds_and_is_needed():
    assert waiver_faults(scores.waivers(), datetime.date.today().isoformat()) == []
    failing = {
        (machine, rule)
        for machine, result in scores.recorded_results().items()
        for profile in result["profiles"].values()
        for rule in scores.outcomes(profile, "fail")
    }
    for waiver in scores.waivers():
        there = {rule for machine, rule in failing if scores.waived_on(machine, [waiver])}
        assert waiver["rule"] in there, f"{waiver['rule']} fails nowhere any more; its waiver can go"


def test_every_reason_against_a_suggestion_of_lynis_is_needed():
    suggested = {one for r in scores.recorded_results().values() for one in r["lynis"]["hardened"]["suggestions"]}
    assert set(scores.lynis_unheeded()) <= suggested


def test_a_machine_that_is_lost_takes_nothing_from_the_other(measured, monkeypatch, tmp_path, capsys):
    def measure(machine):
        if machine.name == "debian-12-qemu":
            raise scores.BenchmarkError("the connection was lost")
        return {**measured, "day": "2026-11-25", "content": "content", "scanners": []}

    (tmp_path / "raw" / "debian-13-nspawn").mkdir(parents=True)
    monkeypatch.setattr(scores, "WORK", tmp_path)
    monkeypatch.setattr(scores, "content", lambda: None)
    monkeypatch.setattr(scores, "measure", measure)
    monkeypatch.setattr(scores, "waivers", lambda: WAIVERS)
    monkeypatch.setattr(scores, "recorded_results", dict)
    monkeypatch.setattr("sys.argv", ["scores.py", "debian-12-qemu", "debian-13-nspawn"])
    assert scores.main() == ["debian-12-qemu was not measured: the connection was lost"]
    assert "| debian-13-nspawn | CIS level 1 server | 70.5" in capsys.readouterr().out
    assert (tmp_path / "raw" / "debian-13-nspawn" / "summary.json").is_file()
