"""What the patching role has apt itself do, on a root of its own whose packages are there only in apt's records."""

import hashlib
import os
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from plugins.module_utils import apt_upgrade

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="there is no apt here")

CONFIGURATION = """
Dir "{root}"; Dir::State "{root}"; Dir::State::status "{root}/status"; Dir::Cache "{root}";
Dir::Bin::dpkg "/usr/bin/dpkg"; APT::Architecture "amd64"; APT::Architectures {{ "amd64"; "i386"; }};
APT::Sandbox::User "root"; Debug::NoLocking "true";
"""
PACKAGES = (("demo", "all"), ("kept", "all"), ("multi", "amd64"), ("multi", "i386"))
FILE, PART, SETTINGS = "etc/apt/preferences", "etc/apt/preferences.d/own", "etc/apt/apt.conf.d/own"


def records(version, more):
    for name, architecture in PACKAGES:
        same = "" if architecture == "all" else "Multi-Arch: same\n"
        known = f"Package: {name}\nArchitecture: {architecture}\nVersion: {version}\nMaintainer: somebody\n"
        yield known + same + more.format(name=name)


@pytest.fixture
def upgrade(monkeypatch, tmp_path):
    """Simulates an upgrade on a machine that has all packages in version 1, and also 2 in its archive."""
    for directory in ("archive", "lists/partial", "archives/partial", "etc/apt/preferences.d", "etc/apt/apt.conf.d"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "status").write_text("\n".join(records(1, "Status: install ok installed\n")))
    where = f"Filename: ./{{name}}.deb\nSize: 1\nSHA256: {'0' * 64}\n"
    index = "\n".join([*records(1, where), *records(2, where)])
    (tmp_path / "archive/Packages").write_text(index)
    digest = hashlib.sha256(index.encode()).hexdigest()
    release = f"Suite: stable\nDate: Mon, 02 Nov 2020 10:00:00 UTC\nSHA256:\n {digest} {len(index)} Packages\n"
    (tmp_path / "archive/Release").write_text(release)
    (tmp_path / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{tmp_path}/archive ./\n")
    (tmp_path / "apt.conf").write_text(CONFIGURATION.format(root=tmp_path))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setattr(apt_upgrade, "PREFERENCES", str(tmp_path / FILE))
    subprocess.run(["apt-get", "update", "-qq"], check=True)

    def run(command, environ_update):
        done = subprocess.run(command, env={**os.environ, **environ_update}, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def simulate(*packages, file=FILE, text=""):
        (tmp_path / file).write_text(text)
        module = SimpleNamespace(tmpdir=str(tmp_path), run_command=run)
        out, fault = apt_upgrade.apt_upgrade(module, packages, 0, "--simulate")
        return fault or apt_upgrade.upgraded(out)

    return simulate


def pin(packages, what, priority):
    return f"Package: {packages}\nPin: {what}\nPin-Priority: {priority}"


def test_what_is_asked_for_is_upgraded_and_nothing_else_on_any_architecture(upgrade):
    assert upgrade() == set()
    assert upgrade("demo=2", "multi=2", "multi:i386=2") == {"demo", "multi", "multi:i386"}


@pytest.mark.parametrize("file", [FILE, PART])
@pytest.mark.parametrize(
    "own",
    [
        pin("kept multi:any", 'origin ""', 600),
        pin("src:kept", "release a=stable", 600),
        pin("kept", "version 2", 1100),
        pin("*", "release a=stable", 1100),
    ],
)
def test_no_pin_of_the_machine_upgrades_what_is_to_stay(upgrade, file, own):
    assert upgrade("demo=2", file=file, text=own) == {"demo"}


@pytest.mark.parametrize("file", [FILE, PART])
@pytest.mark.parametrize("own", [pin("demo", "version 2", -1), pin("demo", "version 1", 1100)])
def test_no_pin_of_the_machine_hides_an_update_that_was_chosen(upgrade, file, own):
    assert upgrade("demo=2", file=file, text=own) == {"demo"}


@pytest.mark.parametrize(
    "setting",
    ['APT::Get::Show-Versions "true"', 'APT::Get::Show-Upgraded "false"', 'quiet "2"', 'APT::Output-Version "30"'],
)
def test_what_apt_says_is_understood_whatever_the_machine_has_it_show(upgrade, setting):
    assert upgrade("demo=2", "kept=2", file=SETTINGS, text=f"{setting};\n") == {"demo", "kept"}
