"""hybrid.platform.open_cves and fixed_cves"""

import subprocess
from contextlib import contextmanager

import pytest

from plugins.modules import fixed_cves, open_cves

OS_RELEASE = "ID=debian\nVERSION_CODENAME=trixie\n"
REPORT = "CVE-2026-2 openssl (fixed, high urgency)\nCVE-2026-1 bash\nTEMP-0000000-ABCDEF bash (low urgency)\n"


@pytest.fixture
def tracker(monkeypatch, tmp_path):
    """A debsecan that answers what it is told to."""

    def answers(code):
        program = tmp_path / "debsecan"
        program.write_text(f"import sys\n{code}\n")

        @contextmanager
        def found(unpack):
            yield str(program)

        monkeypatch.setattr(open_cves, "debsecan", found)

    return answers


def test_open_cves_are_listed_with_what_is_remarked(tracker):
    tracker(f"assert sys.argv[1:3] == ['--suite', 'trixie']; print({REPORT!r}, end='')")
    assert open_cves.open_cves(OS_RELEASE, "", 10, False) == {
        "status": "known",
        "reason": None,
        "cves": [
            {"cve": "CVE-2026-1", "package": "bash", "remarks": []},
            {"cve": "CVE-2026-2", "package": "openssl", "remarks": ["fixed", "high urgency"]},
            {"cve": "TEMP-0000000-ABCDEF", "package": "bash", "remarks": ["low urgency"]},
        ],
    }


def test_no_open_cve_is_something_else_than_unknown(tracker):
    tracker("")
    assert open_cves.open_cves(OS_RELEASE, "", 10, False)["cves"] == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit('error: while downloading\\nerror: no route to host')", "no route to host"),
        ("import time; time.sleep(5)", "did not answer within 1 s"),
        ("print('<html>log in</html>')", "debsecan said '<html>log in</html>'"),
    ],
)
def test_what_cannot_be_had_is_unknown_for_a_reason_and_never_empty(tracker, code, reason):
    tracker(code)
    found = open_cves.open_cves(OS_RELEASE, "", 1, False)
    assert found["status"] == "unknown" and found["cves"] is None
    assert reason in found["reason"]


def test_without_debsecan_it_is_unknown(monkeypatch):
    monkeypatch.setattr(open_cves.shutil, "which", lambda name: None)
    assert open_cves.open_cves(OS_RELEASE, "", 1, False)["reason"] == "debsecan is not installed"
    failed = subprocess.CompletedProcess([], 100, "", "E: Unable to locate package debsecan\n")
    monkeypatch.setattr(open_cves.subprocess, "run", lambda *command, **how: failed)
    found = open_cves.open_cves(OS_RELEASE, "", 1, True)
    assert found["reason"].endswith("E: Unable to locate package debsecan")


def test_a_machine_that_names_no_release_is_unknown(tracker):
    tracker("")
    assert "names no release" in open_cves.open_cves("ID=debian\n", "", 1, False)["reason"]


def test_fixed_cves_come_from_one_changelog_a_source():
    installed = [("libssl3", "openssl", "3.5"), ("openssl", "openssl", "3.5"), ("tiny", "tiny", "1"), ("x", "x", "1")]
    texts = {"openssl": "* CVE-2025-0002, CVE-2025-0001", "x": "nothing"}
    assert fixed_cves.fixed_cves(installed, texts.get) == {
        "sources": {"openssl": ["CVE-2025-0001", "CVE-2025-0002"]},
        "unread": ["tiny"],
    }
