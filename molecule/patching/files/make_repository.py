"""Make two small signed repositories of practice packages: updates to practise on, without waiting for Debian.

python3 make_repository.py DIRECTORY STAGE   (each stage has the versions of the former ones, too)

Stage 1 is what gets installed, stage 2 is what is pending then, stage 3 breaks. `main` is an archive as any other,
`security` is labelled as Debian's.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

UNIT = "[Unit]\nDescription={name}\n[Service]\nExecStart={program}\n[Install]\nWantedBy=multi-user.target\n"
START = "systemctl daemon-reload\nsystemctl enable --quiet {name}\nsystemctl restart {name}\n"
# As a library would: the file is replaced under the service, which nobody restarts.
START_ONCE = "systemctl daemon-reload\nsystemctl enable --quiet {name}\nsystemctl start {name}\n"
SERVES = "#!/bin/sh\nexec python3 -m http.server --directory /usr/share/doc/practice-service 8080\n"
LIVES = "#!/bin/sh\nexec sleep infinity\n"
DIES = "#!/bin/sh\nsleep 1\nexit 1\n"
ASKS_FOR_REBOOT = "touch /run/reboot-required\necho {name} >> /run/reboot-required.pkgs\n"
CVES = {"practice-service 1.1": "CVE-2026-11111, CVE-2026-22222", "practice-secure 1.1": "CVE-2026-33333"}


@dataclass(frozen=True)
class Package:
    """One version of a package.

    Attributes:
        archive: main or security.
        program: what its service runs: a script, or `copy` for a copy of sleep itself.
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
    phased: int | None = None


PACKAGES = (
    Package("practice-service", "1.0", 1, program=SERVES, postinst=START),
    Package("practice-service", "1.1", 2, program=SERVES, postinst=START),
    Package("practice-stale", "1.0", 1, program="copy", postinst=START_ONCE),
    Package("practice-stale", "1.1", 2, program="copy", postinst=START_ONCE),
    Package("practice-secure", "1.0", 1),
    Package("practice-secure", "1.1", 2, archive="security"),
    Package("practice-secure", "1.2", 2),
    Package("practice-conf", "1.0", 1, conffile="answer = 1\n"),
    Package("practice-conf", "1.1", 2, conffile="answer = 2\n"),
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
    Package("practice-fails", "1.0", 1),
    Package("practice-fails", "1.1", 2),
    Package("practice-fails", "1.2", 3, postinst="exit 1\n"),
)


def changelog(package: Package) -> str:
    entries = []
    for other in PACKAGES:
        if other.name == package.name and other.version <= package.version:
            cves = CVES.get(f"{other.name} {other.version}")
            entries.append(
                f"{other.name} ({other.version}) stable; urgency=medium\n\n"
                f"  * {f'Check the length of names ({cves}).' if cves else 'Release.'}\n\n"
                " -- Molecule <molecule@example.org>  Mon, 02 Nov 2026 10:00:00 +0000\n"
            )
    return "\n".join(reversed(entries))


def fill(root: Path, package: Package) -> None:
    documents = root / f"usr/share/doc/{package.name}"
    documents.mkdir(parents=True)
    (documents / "changelog.gz").write_bytes(gzip.compress(changelog(package).encode(), mtime=0))
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
    unit.write_text(UNIT.format(name=package.name, program=f"/usr/lib/{package.name}/run{arguments}"))


def build(directory: Path, package: Package) -> str:
    """Build one package; return its entry of the index."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        (root / "DEBIAN").mkdir(parents=True, mode=0o755)
        root.chmod(0o755)
        control = f"Package: {package.name}\nVersion: {package.version}\nArchitecture: all\n"
        control += "Maintainer: Molecule <molecule@example.org>\n"
        (root / "DEBIAN/control").write_text(control + f"Description: {package.name}\n")
        fill(root, package)
        file = directory / f"{package.name}_{package.version}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "--build", str(root), str(file)]
        subprocess.run(command, check=True, capture_output=True)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    phased = "" if package.phased is None else f"Phased-Update-Percentage: {package.phased}\n"
    size = f"Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
    return f"{control}{size}{phased}Description: {package.name}\n"


def archive(directory: Path, label: str, packages: Iterable[Package]) -> None:
    directory.mkdir(parents=True)
    index = "\n".join(build(directory, package) for package in packages).encode()
    (directory / "Packages").write_bytes(index)
    digest = hashlib.sha256(index).hexdigest()
    (directory / "Release").write_text(
        f"Origin: Practice\nLabel: {label}\nSuite: stable\nCodename: practice\n"
        f"SHA256:\n {digest} {len(index)} Packages\n"
    )


def sign(directory: Path) -> None:
    """With the key of this machine, made when first needed."""
    key = directory.parents[1] / "practice-key"
    gpg = ["gpg", "--batch", "--quiet", "--yes", "--homedir", str(key)]
    public = directory.parents[1] / "practice.asc"
    if not public.exists():
        key.mkdir(mode=0o700, exist_ok=True)
        subprocess.run([*gpg, "--passphrase", "", "--quick-generate-key", "practice", "ed25519"], check=True)
        public.write_bytes(subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout)
    release, signed = str(directory / "Release"), str(directory / "InRelease")
    subprocess.run([*gpg, "--clearsign", "--output", signed, release], check=True)


def tracker_data(file: Path) -> None:
    """A file as debsecan reads it: one CVE, which version 1.1 of a held package closes."""
    known = "CVE-2026-44444,,Checks nothing at all\n"
    concerns = "practice-held,0,B  F,1.1,\n"
    file.write_bytes(zlib.compress(f"VERSION 1\n{known}\n{concerns}\n".encode()))


def main(directory: Path, stage: int) -> None:
    os.umask(0o022)  # apt reads it as a user of its own
    shutil.rmtree(directory, ignore_errors=True)
    for name, label in (("main", "Practice"), ("security", "Debian-Security")):
        archive(directory / name, label, [p for p in PACKAGES if p.archive == name and p.stage <= stage])
        sign(directory / name)
    tracker_data(directory.parent / "trixie")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
