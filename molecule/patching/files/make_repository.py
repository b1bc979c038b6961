"""Make small signed repositories of practice packages: updates to practise on, without waiting for Debian.

python3 make_repository.py DIRECTORY

Makes DIRECTORY/stage-1 and on, each with the versions of the former ones, too: stage 1 is what gets installed, stage 2
is what is pending then, stage 3 breaks, stage 4 is mended, stage 5 cuts its machine off. In each, `main` is an archive
as any other, and `security` is labelled as Debian's. Beside them lie `unsigned` and `expired`, which apt must not
believe, and the security tracker's data.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

UNIT = (
    "[Unit]\nDescription={name}\n[Service]\n{kind}Environment=RELEASE={version}\nExecStart={program}\n"
    "[Install]\nWantedBy=multi-user.target\n"
)
START = "systemctl daemon-reload\nsystemctl enable --quiet {name}\nsystemctl restart {name}\n"
# As a library would: the files are replaced under the service, which nobody restarts.
START_ONCE = '[ -z "$2" ] || exit 0\n' + START
SERVES = "#!/bin/sh\nexec python3 -m http.server --directory /usr/share/doc/practice-service 8080\n"
LIVES = "#!/bin/sh\nexec sleep infinity\n"
# As a firewall does: it ends, and its unit stays active.
STANDS = "#!/bin/sh\n"
GIVES_UP = "systemctl disable --quiet --now {name}\n"
# So late that a look at once would find it running.
DIES = "#!/bin/sh\nsleep 3\nexit 1\n"
ASKS_FOR_REBOOT = "touch /run/reboot-required\necho {name} >> /run/reboot-required.pkgs\n"
ASKS_A_QUESTION = '[ "$DEBIAN_FRONTEND" = noninteractive ] || exit 1\n'
# A machine that is lost in the middle of an update, for a few seconds. Its second try goes through.
CUTS_OFF = (
    "[ ! -e /run/{name} ] || exit 0\ntouch /run/{name}\n"
    "systemd-run --quiet --collect --on-active=8 systemctl start ssh.service\n"
    "systemctl stop ssh.socket ssh.service\nsystemctl kill --signal=KILL 'session-*.scope'\nsleep 5\nexit 1\n"
)
# By package and version.
CVES = {
    "practice-service 1.1": "CVE-2026-11111, CVE-2026-22222",
    "practice-secure 1.1": "CVE-2026-33333",
    "practice-cut 1.1": "CVE-2026-55555",
}


@dataclass(frozen=True)
class Package:
    """One version of a package.

    Attributes:
        archive: main or security.
        program: what its service runs: a script, or `copy` for a copy of sleep itself.
        depends: what else it needs.
        postinst: what happens after it was unpacked.
        conffile: content of a file that dpkg asks about once the machine's own differs.
        phased: percentage of machines that get it by now.
    """

    name: str
    version: str
    stage: int
    archive: str = "main"
    program: str = ""
    postinst: str = ""
    conffile: str = ""
    depends: str = ""
    phased: int | None = None


PACKAGES = (
    Package("practice-service", "1.0", 1, program=SERVES, postinst=START),
    Package("practice-service", "1.1", 2, program=SERVES, postinst=START),
    Package("practice-stale", "1.0", 1, program="copy", postinst=START_ONCE),
    Package("practice-stale", "1.1", 2, program="copy", postinst=START_ONCE),
    Package("practice-unit", "1.0", 1, program=LIVES, postinst=START_ONCE),
    Package("practice-unit", "1.1", 2, program=LIVES, postinst=START_ONCE),
    Package("practice-secure", "1.0", 1),
    Package("practice-secure", "1.1", 2, archive="security"),
    Package("practice-secure", "1.2", 2),
    Package("practice-conf", "1.0", 1, conffile="answer = 1\n"),
    Package("practice-conf", "1.1", 2, conffile="answer = 2\n", postinst=ASKS_A_QUESTION),
    Package("practice-reboot", "1.0", 1),
    Package("practice-reboot", "1.1", 2, postinst=ASKS_FOR_REBOOT),
    Package("practice-held", "1.0", 1),
    Package("practice-held", "1.1", 2),
    Package("practice-excluded", "1.0", 1),
    Package("practice-excluded", "1.1", 2),
    Package("practice-phased", "1.0", 1),
    Package("practice-phased", "1.1", 2, phased=0),
    Package("practice-dies", "1.0", 1, program=LIVES, postinst=START),
    Package("practice-dies", "1.1", 2, program=LIVES, postinst=START),
    Package("practice-dies", "1.2", 3, program=DIES, postinst=START),
    Package("practice-dies", "1.3", 4, program=LIVES, postinst=START),
    Package("practice-stands", "1.0", 1, program=STANDS, postinst=START),
    Package("practice-stands", "1.2", 3, program=STANDS, postinst=GIVES_UP),
    Package("practice-stands", "1.3", 4, program=STANDS, postinst=START),
    Package("practice-fails", "1.0", 1),
    Package("practice-fails", "1.1", 2),
    Package("practice-fails", "1.2", 3, postinst="exit 1\n"),
    Package("practice-cut", "1.0", 1),
    Package("practice-cut", "1.1", 5, postinst=CUTS_OFF),
    Package("practice-needs", "1.0", 1),
    Package("practice-needs", "1.1", 3, depends="practice-excluded (>= 1.1)"),
    Package("practice-lib", "1.0", 1),
    Package("practice-lib", "1.2", 2),
    Package("practice-app", "1.0", 1),
    Package("practice-app", "1.1", 2, archive="security", depends="practice-lib (>= 1.1)"),
)
EXPIRED = "Date: Mon, 02 Nov 2020 10:00:00 UTC\nValid-Until: Tue, 03 Nov 2020 10:00:00 UTC\n"


def changelog(package: Package, packages: Sequence[Package]) -> str:
    entries = []
    for other in packages:
        if other.name == package.name and other.version <= package.version:
            cves = CVES.get(f"{other.name} {other.version}")
            entries.append(
                f"{other.name} ({other.version}) stable; urgency=medium\n\n"
                f"  * {f'Check the length of names ({cves}).' if cves else 'Release.'}\n\n"
                " -- Molecule <molecule@example.org>  Mon, 02 Nov 2026 10:00:00 +0000\n"
            )
    return "\n".join(reversed(entries))


def fill(root: Path, package: Package, changes: str) -> None:
    documents = root / f"usr/share/doc/{package.name}"
    documents.mkdir(parents=True)
    (documents / "changelog.gz").write_bytes(gzip.compress(changes.encode(), mtime=0))
    if package.program:
        service(root, package)
    if package.conffile:
        (root / "etc").mkdir()
        (root / f"etc/{package.name}.conf").write_text(package.conffile)
        (root / "DEBIAN/conffiles").write_text(f"/etc/{package.name}.conf\n")
    if package.postinst:
        (root / "DEBIAN/postinst").write_text("#!/bin/sh\nset -e\n" + package.postinst.format(name=package.name))
        (root / "DEBIAN/postinst").chmod(0o755)


def service(root: Path, package: Package) -> None:
    program = root / f"usr/lib/{package.name}/run"
    program.parent.mkdir(parents=True)
    arguments = ""
    if package.program == "copy":
        shutil.copyfile(shutil.which("sleep") or "/bin/sleep", program)
        arguments = " infinity"
    else:
        program.write_text(package.program)
    program.chmod(0o755)
    unit = root / f"usr/lib/systemd/system/{package.name}.service"
    unit.parent.mkdir(parents=True)
    command = f"/usr/lib/{package.name}/run{arguments}"
    kind = "Type=oneshot\nRemainAfterExit=yes\n" if package.program == STANDS else ""
    unit.write_text(UNIT.format(name=package.name, kind=kind, version=package.version, program=command))
    # systemd tells a changed unit from its time alone.
    changed = time.time() - 3600 + 60 * int(package.version.rpartition(".")[2])
    os.utime(unit, (changed, changed))


def build(pool: Path, package: Package, changes: str) -> str:
    """Build one package; return its entry of an index."""
    root = pool / "root"
    (root / "DEBIAN").mkdir(parents=True, mode=0o755)
    control = f"Package: {package.name}\nVersion: {package.version}\nArchitecture: all\n"
    control += "Maintainer: Molecule <molecule@example.org>\n"
    control += f"Depends: {package.depends}\n" if package.depends else ""
    (root / "DEBIAN/control").write_text(control + f"Description: {package.name}\n")
    fill(root, package, changes)
    file = pool / file_name(package)
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(file)]
    subprocess.run(command, check=True, capture_output=True)
    shutil.rmtree(root)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    phased = "" if package.phased is None else f"Phased-Update-Percentage: {package.phased}\n"
    size = f"Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
    return f"{control}{size}{phased}Description: {package.name}\n"


def file_name(package: Package) -> str:
    return f"{package.name}_{package.version}_all.deb"


def archive(directory: Path, label: str, entries: Iterable[str], dates: str) -> None:
    """An archive's index, and what says whose it is."""
    directory.mkdir(parents=True, exist_ok=True)
    index = "\n".join(entries).encode()
    (directory / "Packages").write_bytes(index)
    digest = hashlib.sha256(index).hexdigest()
    (directory / "Release").write_text(
        f"Origin: Practice\nLabel: {label}\nSuite: stable\nCodename: practice\n{dates}"
        f"SHA256:\n {digest} {len(index)} Packages\n"
    )


def make_stages(directory: Path, packages: Sequence[Package]) -> None:
    """Build the packages, and for every stage an archive of each kind, not signed yet."""
    pool = directory / "pool"
    pool.mkdir(parents=True)
    entries = {package: build(pool, package, changelog(package, packages)) for package in packages}
    today = time.strftime("Date: %a, %d %b %Y %H:%M:%S UTC\n", time.gmtime())
    for stage in range(1, max(package.stage for package in packages) + 1):
        for name, label in (("main", "Practice"), ("security", "Debian-Security")):
            there = [package for package in packages if package.archive == name and package.stage <= stage]
            made = directory / f"stage-{stage}/{name}"
            archive(made, label, (entries[package] for package in there), today)
            for package in there:
                (made / file_name(package)).hardlink_to(pool / file_name(package))


def make_key(directory: Path) -> Path:
    key = directory / "key"
    key.mkdir(mode=0o700)
    gpg = ["gpg", "--batch", "--quiet", "--homedir", str(key)]
    subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", "practice", "ed25519"], check=True)
    public = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout
    (directory / "practice.asc").write_bytes(public)
    return key


def sign(archives: Iterable[Path], key: Path) -> None:
    """apt tells a new index from its time alone, so each has another one."""
    for number, directory in enumerate(archives):
        release, signed = directory / "Release", directory / "InRelease"
        command = ["gpg", "--batch", "--quiet", "--homedir", str(key), "--clearsign", "--output", str(signed)]
        subprocess.run([*command, str(release)], check=True)
        changed = time.time() - 3600 + number
        os.utime(signed, (changed, changed))


def tracker_data(file: Path) -> None:
    """A file as debsecan reads it: one CVE, which version 1.1 of a held package closes."""
    known = "CVE-2026-44444,,Checks nothing at all\n"
    concerns = "practice-held,0,B  F,1.1,\n"
    file.write_bytes(zlib.compress(f"VERSION 1\n{known}\n{concerns}\n".encode()))


def main(directory: Path) -> None:
    os.umask(0o022)  # apt reads it as a user of its own
    make_stages(directory, PACKAGES)
    archive(directory / "unsigned", "Practice", [], "")
    archive(directory / "expired", "Practice", [], EXPIRED)
    sign([*sorted(directory.glob("stage-*/*")), directory / "expired"], make_key(directory))
    tracker_data(directory / "trixie")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
