"""The decisions inside the modules of the patching role."""

import gzip
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from plugins.module_utils import apt_upgrade, changelogs, locks
from plugins.modules import apt_apply, apt_pending, patch_preflight, patch_state

PROJECT = Path(__file__).resolve().parents[3]


@dataclass(order=True)
class Version:
    version: str
    origins: list = field(default_factory=list, compare=False)
    record: dict = field(default_factory=dict, compare=False)
    uri: str = field(default="", compare=False)
    policy_priority: int = field(default=500, compare=False)
    archive: int = field(default=500, compare=False)

    @property
    def _cand(self):
        return SimpleNamespace(file_list=[(self.archive, 0)])


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
    ("scope", "known", "why"),
    [
        ("all", {"held": True}, "held"),
        ("all", {}, None),
        ("all", {"phasing": True}, "phasing"),
        ("security", {"pinned": True}, "pinned"),
        ("named", {}, "not named"),
    ],
)
def test_what_is_left_says_why(scope, known, why):
    parameters = {"exclude": ["linux-*"], "scope": scope, "packages": ["bash"]}
    known = {"held": False, "phasing": False, "pinned": False, **known}
    assert apt_pending.why_left("openssl", parameters, **known) == why
    assert apt_pending.why_left("linux-image", parameters, **{**known, "held": False}) == "excluded"


def test_only_what_is_asked_for_moves_and_the_machines_own_preferences_stand_last_and_whole():
    own = "Package: x\nPin: release a=stable\nPin-Priority: 1"
    text = apt_upgrade.preferences(["libc6:i386=2.0"], own)
    assert text.split("\n\n") == [
        "Package: *:any\nPin: release a=now\nPin-Priority: 32766",
        "Package: libc6:i386\nPin: version 2.0\nPin-Priority: 32767",
        own,
    ]


class Package:
    """An installed package as python-apt shows it."""

    def __init__(self, name, *versions, held=False, draws=()):
        self.name, self.shortname = name, name.partition(":")[0]
        self.versions, self.installed, self.candidate = versions, versions[0], versions[-1]
        self.is_installed, self.marked_upgrade = True, False
        self._pkg, self._draws = SimpleNamespace(selected_state=int(held)), draws

    def mark_install(self, auto_fix, from_user):
        assert not auto_fix and not from_user
        for package in (self, *self._draws):
            package.marked_upgrade = package.candidate > package.installed


class Cache(list):
    _depcache = SimpleNamespace(policy=SimpleNamespace(get_priority=lambda archive: archive))
    actiongroup = nullcontext


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine whose apt-get does what it is told, notes what it was asked, and knows the packages that are given."""

    def of(*packages, update="", upgrade="", sources=("deb",), releases=("Label: Debian-Security\n",)):
        commands = {"update": update, "upgrade": upgrade}
        for command, does in commands.items():
            (tmp_path / f"{command}.sh").write_text(does)
        for number, text in enumerate(releases):
            (tmp_path / f"{number}_Release").write_text(text)
        program = tmp_path / "apt-get"
        program.write_text(f'#!/bin/sh\necho "$LC_ALL $*" >>{tmp_path}/asked\n. {tmp_path}/$1.sh\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setitem(sys.modules, "apt", SimpleNamespace(Cache=lambda: Cache(packages)))
        monkeypatch.setitem(
            sys.modules,
            "apt_pkg",
            SimpleNamespace(
                SELSTATE_HOLD=1,
                SourceList=lambda: SimpleNamespace(list=sources, read_main_list=lambda: None),
                config=SimpleNamespace(find_dir=lambda name: str(tmp_path)),
            ),
        )
        return lambda: (tmp_path / "asked").read_text().splitlines()

    return of


def left(found):
    return {one["name"]: one["left"] for one in found["pending"]}


COUNTS = "echo '{} upgraded, 0 newly installed, 0 to remove and 9 not upgraded.'"


def upgrades(*names):
    """What apt-get says when it upgrades packages."""
    return f"echo 'The following packages will be upgraded:'; echo '  {' '.join(names)}'; " + COUNTS.format(len(names))


def test_every_repository_has_to_answer_and_other_runs_are_waited_for(call, machine):
    asked = machine()
    call(apt_pending, lock_timeout=7)
    assert asked() == ["C.UTF-8 update -qq -o APT::Update::Error-Mode=any -o DPkg::Lock::Timeout=7"]


def test_what_apt_says_is_english_also_where_the_machine_prefers_other_languages(call, machine, monkeypatch, tmp_path):
    """gettext follows LANGUAGE also under C.UTF-8, and what is upgraded would not be found in what apt says."""
    monkeypatch.setenv("LANGUAGE", "de:en")
    speaks = f'echo "$LC_ALL $LANGUAGE" >>{tmp_path}/spoken; '
    machine(Package("app", OLD, NEWER), update=speaks, upgrade=speaks + upgrades("app"))
    call(apt_pending)
    call(apt_apply, packages=["app=3"])
    assert (tmp_path / "spoken").read_text() == "C.UTF-8 \n" * 3


@pytest.mark.parametrize(("has_it", "has_respawned"), [(True, False), (False, False), (True, True)])
def test_the_systems_own_python_is_asked_where_ansible_uses_another_one(
    call, machine, failure, monkeypatch, has_it, has_respawned
):
    """As pyenv's, a virtual environment's or another release's, which have no module of apt."""
    asked = machine()
    monkeypatch.setitem(sys.modules, "apt", None)
    monkeypatch.setattr(apt_pending, "has_respawned", lambda: has_respawned)
    monkeypatch.setattr(apt_pending, "probe_interpreters_for_module", lambda paths, name: paths[0] if has_it else None)

    def respawn(interpreter):
        print(f'{{"by": "{interpreter}"}}')
        sys.exit()

    monkeypatch.setattr(apt_pending, "respawn_module", respawn)
    if has_it and not has_respawned:
        assert call(apt_pending) == {"by": "/usr/bin/python3"}
    else:
        with pytest.raises(failure, match="python3-apt"):
            call(apt_pending)
    with pytest.raises(FileNotFoundError):
        asked()


def test_the_lock_of_the_lists_is_waited_for(call, machine, failure, monkeypatch, tmp_path):
    monkeypatch.setattr(apt_pending.time, "sleep", lambda seconds: None)
    locked = "echo 'E: Could not get lock /var/lib/apt/lists/lock' >&2; exit 100"
    asked = machine(update=f"[ -e {tmp_path}/second ] && exit 0; touch {tmp_path}/second; {locked}")
    assert call(apt_pending)["pending"] == [] and len(asked()) == 2
    machine(update=locked)
    with pytest.raises(failure, match="Could not get lock"):
        call(apt_pending, lock_timeout=0)


def test_without_a_repository_of_the_scope_there_is_a_failure_and_not_nothing_to_do(call, machine, failure):
    machine(sources=())
    with pytest.raises(failure, match="apt knows no repository"):
        call(apt_pending)
    machine(releases=("Origin: Debian\nLabel: Debian\nSuite: stable\nCodename: trixie\n",))
    assert call(apt_pending)["pending"] == []
    with pytest.raises(failure, match="apt knows no archive of security updates"):
        call(apt_pending, scope="security")
    for suite in ("Suite: noble-security", "Label: Debian-Security", "Codename: trixie-security"):
        machine(releases=(f"{suite}\n",))
        assert call(apt_pending, scope="security")["pending"] == []


def test_what_apt_holds_back_is_left_and_the_rest_is_fetched(call, machine):
    app, lib = Package("app", OLD, NEWER), Package("lib:i386", OLD, NEWER)
    asked = machine(app, lib, upgrade=upgrades("lib:i386"))
    found = call(apt_pending)
    assert left(found) == {"app": "held back", "lib": None}
    assert [one["pin"] for one in found["selected"]] == ["lib:i386=3"] and found["unread"] == ["lib"]
    assert "upgrade --with-new-pkgs --download-only -o" in asked()[1] and "APT::Get::Assume-Yes=true" in asked()[1]
    call(apt_pending, check=True)
    assert "upgrade --with-new-pkgs --simulate -o" in asked()[3]


def test_preferences_of_the_machine_that_would_update_more_are_a_failure(call, machine, failure):
    machine(Package("app", OLD, NEWER), Package("kept", OLD, NEWER), upgrade=upgrades("app", "kept"))
    with pytest.raises(failure, match="would update what is to stay: kept"):
        call(apt_pending, exclude=["kept"])


@pytest.mark.parametrize("says", [upgrades("app").replace("1 up", "2 up"), COUNTS.format(1), "echo '  app'"])
def test_what_is_not_understood_of_apt_is_a_failure_and_not_held_back(call, machine, failure, says):
    machine(Package("app", OLD, NEWER), upgrade=says)
    with pytest.raises(failure, match="do not agree"):
        call(apt_pending)


def test_a_failure_to_fetch_tells_what_is_pending(call, machine, failure):
    machine(Package("app", OLD, NEWER), upgrade="echo 'E: gone' >&2; exit 100")
    with pytest.raises(failure, match="apt failed: E: gone"):
        call(apt_pending)


def test_what_is_named_draws_along_what_it_needs_but_not_what_is_left_for_another_reason(call, machine):
    lib, kept, other = Package("lib", OLD, NEWER), Package("kept", OLD, NEWER), Package("other", OLD, NEWER)
    app = Package("app", OLD, NEWER, draws=(lib, kept))
    machine(app, lib, kept, other, upgrade=upgrades("app", "lib"))
    found = call(apt_pending, scope="named", packages=["app"], exclude=["kept"])
    assert left(found) == {"app": None, "kept": "excluded", "lib": None, "other": "not named"}
    assert not kept.marked_upgrade, "what it needs would come along"


PREFERRED = Version("1", [origin()], policy_priority=990, archive=990)


@pytest.mark.parametrize(
    ("installed", "secure", "why"),
    [
        pytest.param(OLD, FIXED, None, id="no pins"),
        pytest.param(PREFERRED, FIXED, None, id="a release that is preferred for all packages"),
        pytest.param(PREFERRED, Version("2", [SECURITY], policy_priority=600), None, id="a pin that prefers it"),
        pytest.param(OLD, Version("2", [SECURITY], policy_priority=-1), "pinned", id="a pin that forbids it"),
        pytest.param(OLD, Version("2", [SECURITY], policy_priority=50), "pinned", id="a pin that avoids it"),
        pytest.param(Version("1", policy_priority=1001), FIXED, "pinned", id="frozen"),
        pytest.param(Version("1", policy_priority=990), FIXED, "pinned", id="frozen, though not for ever"),
        pytest.param(Version("1", policy_priority=1001, archive=1001), FIXED, "pinned", id="a release goes before all"),
    ],
)
def test_a_security_update_against_the_operators_own_pins_is_left(call, machine, installed, secure, why):
    package = Package("app", installed, secure)
    package.candidate = max((secure, installed), key=lambda version: version.policy_priority)
    machine(package, upgrade=upgrades("app"))
    found = call(apt_pending, scope="security")
    assert left(found) == {"app": why} and len(found["selected"]) == (why is None)


def test_a_pin_that_prefers_a_newer_version_freezes_nothing(call, machine):
    newer = Version("3", [origin()], policy_priority=1001)
    machine(Package("app", OLD, FIXED, newer), upgrade=upgrades("app"))
    assert left(call(apt_pending, scope="security")) == {"app": None}


def test_an_update_is_asked_for_by_its_version_and_waits_for_other_runs(call, machine, tmp_path):
    kept = f'for option; do case $option in Dir::Etc::preferences=*) cp "${{option#*=}}" {tmp_path}/kept;; esac; done; '
    asked = machine(upgrade=kept + upgrades("openssl"))
    assert call(apt_apply, packages=["openssl=2"], lock_timeout=7)["changed"]
    assert "DPkg::Lock::Timeout=7" in asked()[0] and asked()[0].startswith("C.UTF-8 upgrade --with-new-pkgs -o")
    assert "Package: openssl\nPin: version 2\n" in (tmp_path / "kept").read_text()
    machine(upgrade="echo 'The following packages have been kept back:'; echo '  openssl'; " + COUNTS.format(0))
    assert not call(apt_apply, packages=["openssl=2"])["changed"]


def phased(version, percentage):
    return SimpleNamespace(version=version, origins=[], record={"Phased-Update-Percentage": str(percentage)})


def test_an_update_that_is_phased_in_waits_for_this_machines_turn():
    package = SimpleNamespace(candidate=phased("2", 10), _pkg=None)
    turn = {"applied": lambda package: False}
    assert apt_pending.is_phasing(package, package.candidate, applied=lambda package: True)
    assert not apt_pending.is_phasing(package, package.candidate, **turn)
    assert apt_pending.is_phasing(package, phased("2", 0), **turn), "it has been called back"
    assert not apt_pending.is_phasing(package, SimpleNamespace(record={}), applied=lambda package: True)


def test_without_a_python_apt_that_knows_whose_turn_it_is_what_is_phased_in_waits():
    package = SimpleNamespace(candidate=phased("2", 10), _pkg=None)
    assert apt_pending.is_phasing(package, package.candidate, None)
    assert not apt_pending.is_phasing(package, phased("2", 100), None)


def test_a_security_version_does_not_wait_for_a_newer_one_that_is_phased_in():
    package = SimpleNamespace(candidate=phased("2", 10), _pkg=None)
    secure = phased("1", 10)
    secure.origins = [UBUNTU_SECURITY]
    assert not apt_pending.is_phasing(package, secure, applied=lambda package: True)
    assert not apt_pending.is_phasing(package, secure, None)


def test_a_failure_of_apt_names_the_dependencies_that_are_not_met():
    unmet = "practice-needs : Depends: practice-excluded (>= 1.1) but 1.0 is to be installed"
    told = apt_upgrade.why(f"Building dependency tree...\n {unmet}\n", "E: Unable to correct problems.\n")
    assert told == f"{unmet}; E: Unable to correct problems."
    assert apt_upgrade.why("nothing else was said\n", "") == "nothing else was said"


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


def test_a_link_instead_of_a_changelog_is_not_read_as_an_empty_one(monkeypatch):
    inside = {"usr/share/doc/demo/changelog.Debian.gz": b"", "usr/share/doc/demo/changelog.gz": b""}

    def extract(path):
        return inside[path]

    package = SimpleNamespace(data=SimpleNamespace(extractdata=extract))
    monkeypatch.setitem(sys.modules, "apt_inst", SimpleNamespace(DebFile=lambda file: package))
    assert apt_pending.changelog_of("demo.deb", "demo") is None
    inside["usr/share/doc/demo/changelog.gz"] = gzip.compress(b"demo (1)")
    assert apt_pending.changelog_of("demo.deb", "demo") == "demo (1)"
    del inside["usr/share/doc/demo/changelog.Debian.gz"]
    assert apt_pending.changelog_of("demo.deb", "demo") == "demo (1)"


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
    assert not locks.is_locked(str(path))
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert locks.is_locked(str(path))
        process.stdin.close()


def test_a_clock_that_is_off_is_a_fault(call, monkeypatch):
    monkeypatch.setattr(patch_preflight, "database_faults", lambda module: [])
    monkeypatch.setattr(locks, "LOCKS", ())
    now = time.time()
    assert call(patch_preflight, now=now)["faults"] == []
    assert call(patch_preflight, now=now - 3600)["faults"] == ["the clock is 3600 seconds off"]


def test_what_needrestart_names_is_restarted():
    listing = "NEEDRESTART-VER: 3.6\nNEEDRESTART-SVC: ssh.service\nNEEDRESTART-SESS: root @ pts/0\n"
    assert patch_state.named_by_needrestart(listing) == {"ssh.service"}


def test_services_on_which_logins_networks_or_guests_hang_are_not_restarted():
    spared = yaml.safe_load((PROJECT / "roles/patching/defaults/main.yml").read_text())["patching_never_restart"]
    hang = {
        "dbus.service",
        "networking.service",
        "NetworkManager.service",
        "wpa_supplicant@wlan0.service",
        "frr.service",
    }
    hang |= {"strongswan-starter.service", "docker.service", "libvirtd.service", "systemd-nspawn@guest.service"}
    asked = hang | {"practice.service", "ssh.service", "systemd-networkd.service", "postgresql@17-main.service"}
    assert patch_state.sort_out(asked, spared) == (sorted(asked - hang), sorted(hang))


def test_every_lock_of_a_package_run_is_waited_for(monkeypatch):
    assert locks.LOCKS == ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock")
    monkeypatch.setattr(locks, "is_locked", lambda path: path.endswith("dpkg/lock"))
    assert locks.lock_faults(0) == ["another package run has held /var/lib/dpkg/lock for 0 seconds"]


def test_broken_dependencies_are_a_fault(call, monkeypatch, tmp_path):
    monkeypatch.setattr(locks, "LOCKS", ())
    programs(monkeypatch, tmp_path, **{"dpkg": "", "apt-get": "echo 'E: Unmet dependencies' >&2; exit 100"})
    assert call(patch_preflight, now=time.time())["faults"] == ["dependencies are broken: E: Unmet dependencies"]
    programs(monkeypatch, tmp_path, **{"dpkg": "echo half", "apt-get": ""})
    assert call(patch_preflight, now=time.time())["faults"] == ["packages are half installed: half"]


def programs(monkeypatch, directory, **does):
    """Programs that do what is said, and no others but the shell's."""
    for name, text in does.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")


UNITS = """
case "$*" in
  *--state=active*) printf '%s.service loaded active running x\\n' demo job dbus changed
    printf '%s loaded active exited x\\n' firewall.service login.service
    printf '%s loaded active up x\\n' -.mount by-hand.mount auto.mount api.socket clock.timer once.timer;;
  *--state=failed*) echo 'old.mount loaded failed failed x';;
  show*) printf 'Id=%s.service\\nNeedDaemonReload=%s\\nTriggeredBy=%s\\n\\n' \\
    demo no '' dbus no dbus.socket job no job.timer changed yes ''
    printf 'Id=%s\\nUnitFileState=%s\\nTriggeredBy=%s\\n\\n' firewall.service disabled '' login.service static '' \\
      -.mount generated '' by-hand.mount '' '' auto.mount generated auto.automount api.socket enabled '' \\
      clock.timer enabled '' once.timer transient ''
    case "$*" in *skipped.service*)
      printf 'Id=%s\\nConditionResult=%s\\nConditionTimestampMonotonic=%s\\n\\n' \\
        skipped.service no 7 never.service no 0 ended.service yes 7;;
    esac;;
esac"""
DPKG = """
echo 'installed install linux-image-6.1.0-41-amd64 6.1.158-2'
echo 'installed hold libc6:amd64 2.36'
echo 'config-files deinstall gone 1'"""


@pytest.fixture
def state(call, monkeypatch, tmp_path):
    """What is told of a machine with four services, one of which a timer has started."""
    monkeypatch.setattr(locks, "LOCKS", ())
    monkeypatch.setattr(patch_state.glob, "glob", lambda pattern: [])
    monkeypatch.setattr(patch_state, "stale_processes", lambda: ({"demo.service", "job.service"}, False))

    def of(systemctl=UNITS, **parameters):
        needrestart = "echo NEEDRESTART-SVC: dbus.service; echo NEEDRESTART-SVC: stopped.service"
        programs(
            monkeypatch,
            tmp_path,
            **{
                "systemctl": systemctl,
                "dpkg-query": DPKG,
                "needrestart": needrestart,
                "systemd-detect-virt": "echo lxc",
                "dpkg": 'exec /usr/bin/dpkg "$@"',
            },
        )
        return call(patch_state, never_restart=["dbus*"], **parameters)

    return of


def test_the_state_tells_what_needs_a_restart_and_what_a_reboot(state):
    found = state()
    assert found["packages"] == {"linux-image-6.1.0-41-amd64": "6.1.158-2", "libc6:amd64": "2.36"}
    assert found["holds"] == ["libc6:amd64"] and found["failed_units"] == ["old.mount"]
    assert found["restart"] == ["changed.service", "demo.service"] and found["reload"] == ["changed.service"]
    assert found["reboot"] == ["dbus.service runs on what has been replaced and must not be restarted"]


def test_a_job_of_a_timer_may_end_and_is_not_begun_anew(state):
    found = state()
    assert found["running"] == ["changed.service", "dbus.service", "demo.service"]
    assert "job.service" not in found["restart"]


CALLED = """
case "$*" in
  *--state=active*) printf '%s.service loaded active running x\\n' agent@3-10.0.0.1:6556 served@main polkit login modem
    printf '%s.socket loaded active listening x\\n' agent served;;
  show*) echo asked >>{directory}/shown
    printf 'Id=%s.socket\\nAccept=%s\\nUnitFileState=enabled\\n\\n' agent yes served no
    printf 'Id=%s.service\\nUnitFileState=%s\\nBusName=%s\\nWantedBy=%s\\nRequiredBy=%s\\n\\n' \\
      agent@3-10.0.0.1:6556 static '' '' '' served@main static '' '' '' polkit static org.PolicyKit1 '' '' \\
      login static org.login1 multi-user.target '' modem static org.modem '' network.service;
    case "$*" in *agent@2-*) printf 'Id=%s\\n\\n' agent@2-10.0.0.1:6556.service gone.service;; esac;;
esac"""


def test_what_a_connection_or_the_bus_has_started_may_be_gone_after_a_reboot(state, monkeypatch, tmp_path):
    """Nobody starts it again before the next one calls; login and modem are wanted by others, and have to run."""
    stale = {"agent@3-10.0.0.1:6556.service", "polkit.service"}
    monkeypatch.setattr(patch_state, "stale_processes", lambda: (stale, False))
    found = state(systemctl=CALLED.replace("{directory}", str(tmp_path)))
    assert found["running"] == ["login.service", "modem.service", "served@main.service"]
    assert found["restart"] == ["polkit.service"], "who is connected would be cut off, and nobody is served"
    assert (tmp_path / "shown").read_text() == "asked\n"


def test_what_comes_with_a_caller_is_known_also_of_what_ran_before(state, tmp_path):
    before = ["agent@2-10.0.0.1:6556.service", "gone.service"]
    found = state(systemctl=CALLED.replace("{directory}", str(tmp_path)), stood=before)
    assert found["called"] == ["agent@2-10.0.0.1:6556.service", "agent@3-10.0.0.1:6556.service", "polkit.service"]


def test_what_stands_without_a_process_is_told_but_for_what_comes_and_goes(state):
    """A firewall that somebody has started and not enabled is gone after a reboot, and would not be missed."""
    found = state(stood=["api.socket", "skipped.service", "never.service", "ended.service"])
    assert found["standing"] == ["-.mount", "api.socket", "clock.timer", "firewall.service"]
    assert found["unneeded"] == ["skipped.service"], "only the first boot needs it"


def test_without_an_init_system_there_are_only_packages(state, monkeypatch):
    monkeypatch.setattr(patch_state, "units", lambda *asked: pytest.fail("systemd was asked"))
    found = state(booted=False)
    assert found["holds"] == ["libc6:amd64"]
    kinds = ("running", "standing", "called", "unneeded", "failed_units", "restart", "reload", "reboot")
    assert [found[kind] for kind in kinds] == [[]] * len(kinds)


def test_the_state_is_looked_at_after_a_pause_and_after_other_runs(state, monkeypatch):
    slept = []
    monkeypatch.setattr(patch_state.time, "sleep", slept.append)
    monkeypatch.setattr(patch_state, "lock_faults", lambda timeout: [f"locked for {timeout}"])
    assert state(pause=3, lock_timeout=7)["locked"] == ["locked for 7"] and slept == [3]


def test_a_rebuilt_kernel_of_the_same_name_asks_for_a_reboot():
    debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)"
    packages = {"linux-image-6.1.0-41-amd64": "6.1.158-2"}
    assert patch_state.rebuilt_kernel("6.1.0-41-amd64", debian, packages) == "6.1.158-2"
    assert patch_state.rebuilt_kernel("6.1.0-41-amd64", debian.replace("158-1", "158-2"), packages) is None
    assert patch_state.rebuilt_kernel("6.1.0-40-amd64", debian, packages) is None
    assert patch_state.rebuilt_kernel("6.1.0-41-amd64", "#41-Ubuntu SMP", packages) is None


@pytest.fixture
def processes(monkeypatch, tmp_path):
    """PID 1, a service, and a process of a guest, all on files that are gone."""
    lost = "7f00-7f01 r-xp 00000000 fd:00 12 /usr/lib/libssl.so.3 (deleted)\n"
    guest = "0::/machine.slice/systemd-nspawn@guest.service/payload/system.slice/cron.service\n"
    for pid, space, group in (
        ("1", "own", "0::/init.scope\n"),
        ("20", "own", "0::/system.slice/ssh.service\n"),
        ("30", "guest", guest),
        ("self", "own", ""),
    ):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns/pid").symlink_to(space)
        (tmp_path / pid / "maps").write_text(lost)
        (tmp_path / pid / "cgroup").write_text(group)
    monkeypatch.setattr(patch_state, "PROC", str(tmp_path))
    return tmp_path


def test_services_of_guests_are_not_the_machines_own(processes):
    assert patch_state.stale_processes() == ({"ssh.service"}, True)
    (processes / "1/maps").write_text("")
    assert patch_state.stale_processes() == ({"ssh.service"}, False)
