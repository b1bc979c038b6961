"""The decisions inside the modules of the patching role."""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from plugins.module_utils import apt_install, changelogs
from plugins.modules import apt_pending, patch_preflight, patch_state


@dataclass(order=True)
class Version:
    version: str
    origins: list = field(default_factory=list, compare=False)


def origin(label="Debian", archive="stable", codename="trixie"):
    return SimpleNamespace(label=label, archive=archive, codename=codename)


SECURITY = origin("Debian-Security", "stable-security", "trixie-security")
UBUNTU_SECURITY = origin("Ubuntu", "noble-security", "noble")
OLD, FIXED, NEWER = Version("1", [origin()]), Version("2", [SECURITY]), Version("3", [origin()])


def test_security_takes_the_security_version_also_where_another_archive_has_a_newer_one():
    assert apt_pending.choose("security", OLD, NEWER, [OLD, FIXED, NEWER]) == FIXED
    assert apt_pending.choose("all", OLD, NEWER, [OLD, FIXED, NEWER]) == NEWER
    assert apt_pending.choose("security", OLD, NEWER, [OLD, NEWER]) is None
    assert apt_pending.choose("security", FIXED, FIXED, [OLD, FIXED]) is None
    assert apt_pending.is_security(Version("2", [UBUNTU_SECURITY]))


@pytest.mark.parametrize(
    ("held", "phasing", "scope", "why"),
    [
        (True, False, "all", "held"),
        (False, False, "all", None),
        (False, True, "all", "phasing"),
        (False, False, "named", "not named"),
    ],
)
def test_what_is_left_says_why(held, phasing, scope, why):
    parameters = {"exclude": ["linux-*"], "scope": scope, "packages": ["bash"]}
    assert apt_pending.why_left("openssl", held, phasing, parameters) == why
    assert apt_pending.why_left("linux-image", False, False, parameters) == "excluded"


def test_kept_packages_are_pinned_after_the_machines_own_preferences():
    text = apt_install.preferences(["a", "gone"], {"a": "1.0"}, "Package: x\nPin: release a=stable\nPin-Priority: 1\n")
    assert text.startswith("Package: x\n") and "Package: a\nPin: version 1.0\nPin-Priority: 1001\n" in text
    assert "gone" not in text


def test_a_failure_of_apt_names_the_dependencies_that_are_not_met():
    unmet = "practice-needs : Depends: practice-excluded (>= 1.1) but 1.0 is to be installed"
    told = apt_install.why(f"Building dependency tree...\n {unmet}\n", "E: Unable to correct problems.\n")
    assert told == f"{unmet}; E: Unable to correct problems."
    assert apt_install.why("nothing else was said\n", "") == "nothing else was said"


CHANGELOG = """demo (1.2-1) stable; urgency=medium

  * CVE-2026-33333

 -- A <a@example.org>  Mon, 02 Nov 2026 10:00:00 +0000

demo (1.1-1) stable; urgency=medium

  * CVE-2026-22222, again CVE-2026-33333

 -- A <a@example.org>  Mon, 02 Nov 2026 10:00:00 +0000

demo (1.0-1) stable; urgency=medium

  * CVE-2026-11111
"""


def test_only_entries_newer_than_the_installed_version_count():
    def newer(version, old):
        return version > old

    assert changelogs.cves_between(CHANGELOG, "1.0-1", newer) == ["CVE-2026-22222", "CVE-2026-33333"]
    assert changelogs.cves_between(CHANGELOG, "1.1-1", newer) == ["CVE-2026-33333"]
    assert changelogs.cves_between(CHANGELOG, "1.2-1", newer) == []


def test_a_package_is_found_among_the_fetched_and_in_a_repository_of_the_machine(tmp_path):
    fetched = tmp_path / "demo_1%3a1.0+b1_amd64.deb"
    fetched.touch()
    version = SimpleNamespace(version="1:1.0+b1", uri="http://127.0.0.1/pool/demo_1.0+b1_amd64.deb")
    assert apt_pending.package_file(str(tmp_path), "demo", version) == str(fetched)
    assert apt_pending.package_file(str(tmp_path), "dem", version) is None
    local = SimpleNamespace(version="1.0", uri="file:/srv//pool/demo_1.0_all.deb")
    assert apt_pending.package_file(str(tmp_path), "demo", local) == "/srv/pool/demo_1.0_all.deb"


def test_a_process_on_replaced_code_is_seen_and_one_on_deleted_data_is_not():
    code = "7f00-7f01 r-xp 00000000 fd:00 12 /usr/lib/x86_64-linux-gnu/libssl.so.3 (deleted)\n"
    assert patch_state.has_lost_files(code)
    assert not patch_state.has_lost_files(code.replace(" (deleted)", ""))
    assert not patch_state.has_lost_files(code.replace("/usr/lib/x86_64-linux-gnu/libssl.so.3", "/dev/zero"))
    assert not patch_state.has_lost_files(code.replace("r-xp", "rw-p"))


def test_a_process_belongs_to_its_service_also_on_hosts_with_two_hierarchies():
    assert patch_state.service_of("0::/system.slice/ssh.service\n") == "ssh.service"
    assert patch_state.service_of("1:name=systemd:/machine/system.slice/cron.service\n0::/x\n") == "cron.service"
    assert patch_state.service_of("0::/user.slice/user-0.slice/user@0.service/app.slice/a.service\n") is None


def test_a_newer_kernel_on_disk_asks_for_a_reboot_but_not_in_a_container():
    kernels = ["vmlinuz-6.12.9-amd64", "vmlinuz-6.12.10-amd64"]
    assert "6.12.10-amd64 is installed" in patch_state.reboot_reasons(False, False, kernels, "6.12.9-amd64", [], [])[0]
    assert patch_state.reboot_reasons(True, False, kernels, "6.12.9-amd64", [], []) == []
    for no_reboot_would_help in ("6.12.11-amd64", "6.12.9-cloud-amd64"):
        assert patch_state.reboot_reasons(False, False, kernels, no_reboot_would_help, [], []) == []
    kernels = ["vmlinuz-6.1.0-57-cloud-amd64", "vmlinuz-6.12.117+deb13-amd64"]
    assert "6.1.0-57" in patch_state.reboot_reasons(False, False, kernels, "6.1.0-56-cloud-amd64", [], [])[0]
    assert "init system" in patch_state.reboot_reasons(True, True, [], "x", [], [])[0]


def test_too_little_space_is_a_fault_and_a_missing_directory_is_not():
    free = {"/": 100, "/boot": None, "/var": 600}
    assert patch_preflight.space_faults({"/": 500, "/boot": 100, "/var": 500}, free.get) == [
        "/ has 100 MB free, 500 MB are needed"
    ]


def test_a_lock_that_another_run_holds_is_seen(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    assert not patch_preflight.is_locked(str(path))
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert patch_preflight.is_locked(str(path))
        process.stdin.close()


def test_a_clock_that_is_off_is_a_fault(call, monkeypatch):
    monkeypatch.setattr(patch_preflight, "database_faults", lambda module: [])
    monkeypatch.setattr(patch_preflight, "LOCKS", ())
    now = time.time()
    assert call(patch_preflight, now=now)["faults"] == []
    assert call(patch_preflight, now=now - 3600)["faults"] == ["the clock is 3600 seconds off"]


def test_what_needrestart_names_is_restarted():
    listing = "NEEDRESTART-VER: 3.6\nNEEDRESTART-SVC: ssh.service\nNEEDRESTART-SESS: root @ pts/0\n"
    assert patch_state.named_by_needrestart(listing) == {"ssh.service"}


def test_services_on_which_logins_hang_are_not_restarted():
    asked = {"dbus.service", "practice.service"}
    assert patch_state.sort_out(asked, ["dbus*.service"]) == (["practice.service"], ["dbus.service"])
