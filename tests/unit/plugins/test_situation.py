"""hybrid.platform.situation"""

import pytest

from plugins.modules import situation

IPV4, IPV6 = situation.FORWARDING


def test_texts_and_matches_come_in_the_same_call(call, tmp_path):
    (tmp_path / "one").write_text("first\n")
    (tmp_path / "two").touch()
    known, unknown, pattern = str(tmp_path / "one"), str(tmp_path / "none"), f"{tmp_path}/*"
    told = call(situation, read=[known, unknown], match=[pattern])
    assert told["texts"] == {known: "first\n", unknown: ""}
    assert told["matches"][pattern][-2:] == [known, str(tmp_path / "two")]
    assert told["distribution"]


def test_a_pattern_stands_for_the_files_that_it_matches(call, tmp_path):
    (tmp_path / "one.rules").write_text("first\n")
    (tmp_path / "two.list").touch()
    known, unknown = f"{tmp_path}/*.rules", f"{tmp_path}/*.none"
    assert call(situation, read=[known, unknown])["texts"] == {f"{tmp_path}/one.rules": "first\n", unknown: ""}


@pytest.mark.parametrize(
    ("on", "interface", "booted", "container", "told"),
    [
        ([IPV4], True, True, "", {IPV4: ["docker0"]}),
        ([IPV4, IPV6], True, True, "nspawn", {IPV4: ["docker0"], IPV6: ["docker0"]}),
        # A router, or a gateway of IPsec, has no interface that tells.
        ([IPV4, IPV6], False, True, "", {IPV4: [f"{IPV4} is 1"], IPV6: [f"{IPV6} is 1"]}),
        # By its host.
        ([IPV4], False, True, "nspawn", {}),
        ([], True, True, "", {}),
        ([IPV4], True, False, "", {}),
    ],
)
def test_it_is_told_for_whom_packets_are_passed_on(on, interface, booted, container, told, monkeypatch):
    monkeypatch.setattr(
        situation, "text", lambda path: "1\n" if path in [situation.FORWARDING[one] for one in on] else "0\n"
    )
    monkeypatch.setattr(
        situation.glob, "glob", lambda pattern: ["docker0"] if interface and "bridge" in pattern else []
    )
    assert situation.passes_on(booted, container) == {IPV4: [], IPV6: []} | told
