"""Filters of the hardening role."""

import pytest

from plugins.filter.waivers import score_faults, waiver_faults

WAIVER = {"rule": "no_root_login", "owner": "ann", "reason": "the platform comes as root", "expires": "2026-12-31"}


def test_a_waiver_holds_up_to_its_last_day():
    assert waiver_faults([WAIVER], "2026-12-31") == []
    assert "expired on 2026-12-31; ann must" in waiver_faults([WAIVER], "2027-01-01")[0]


@pytest.mark.parametrize("field", ["rule", "owner", "reason", "expires"])
def test_a_waiver_must_say_everything(field):
    assert f"does not say its {field}" in waiver_faults([{**WAIVER, field: ""}], "2026-01-01")[0]


def test_other_mistakes_are_named():
    assert "must be a day" in waiver_faults([{**WAIVER, "expires": "next year"}], "2026-01-01")[0]
    assert waiver_faults([WAIVER, WAIVER], "2026-01-01") == ["no_root_login is waived more than once"]


def test_a_score_may_not_fall_and_every_failure_needs_a_waiver():
    result = {"profile": "cis", "score": 86.0, "failed": ["no_root_login", "other"]}
    assert score_faults(result, [WAIVER], 86.0) == ["other fails and is not waived"]
    assert "fell from 86.1 to 86.0" in score_faults({**result, "failed": []}, [], 86.1)[0]
