"""Make a small repository of packages in two versions: updates to practise on, without waiting for Debian.

python3 make_repository.py DIRECTORY VERSION...   (later versions are what is pending once earlier ones are installed)
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

UNIT = "[Unit]\nDescription={name}\n[Service]\nExecStart=/usr/lib/{name}/run\n[Install]\nWantedBy=multi-user.target\n"
POSTINST = "#!/bin/sh\nset -e\nsystemctl daemon-reload\nsystemctl enable --quiet {name}\nsystemctl restart {name}\n"
LIVES = "#!/bin/sh\nexec sleep infinity\n"
DIES = "#!/bin/sh\nsleep 1\nexit 1\n"
CHANGES = {
    "1.0": "  * First release.",
    "1.1": "  * Check the length of names (CVE-2026-11111, CVE-2026-22222).",
}


def changelog(name: str, version: str) -> str:
    entries = [
        f"{name} ({known}) stable; urgency=medium\n\n{text}\n\n"
        " -- Molecule <molecule@example.org>  Mon, 02 Nov 2026 10:00:00 +0000\n"
        for known, text in CHANGES.items()
        if known <= version
    ]
    return "\n".join(reversed(entries))


def service(root: Path, name: str, program: str) -> None:
    (root / f"usr/lib/{name}").mkdir(parents=True)
    (root / f"usr/lib/{name}/run").write_text(program)
    (root / f"usr/lib/{name}/run").chmod(0o755)
    (root / "usr/lib/systemd/system").mkdir(parents=True)
    (root / f"usr/lib/systemd/system/{name}.service").write_text(UNIT.format(name=name))
    postinst(root, POSTINST.format(name=name))


def postinst(root: Path, script: str) -> None:
    (root / "DEBIAN/postinst").write_text(script)
    (root / "DEBIAN/postinst").chmod(0o755)


def contents(root: Path, name: str, version: str) -> None:
    """What tells the packages apart."""
    if name == "practice-service":
        service(root, name, LIVES)
    elif name == "practice-dies":
        service(root, name, LIVES if version == "1.0" else DIES)
    elif name == "practice-reboot" and version != "1.0":
        postinst(root, "#!/bin/sh\ntouch /run/reboot-required\necho practice-reboot >> /run/reboot-required.pkgs\n")


def build(directory: Path, name: str, version: str) -> str:
    """Build one package; return its entry of the index."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        (root / "DEBIAN").mkdir(parents=True, mode=0o755)
        root.chmod(0o755)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Molecule <molecule@example.org>\n"
        )
        (root / "DEBIAN/control").write_text(control + f"Description: {name}\n")
        documents = root / f"usr/share/doc/{name}"
        documents.mkdir(parents=True)
        (documents / "changelog.gz").write_bytes(gzip.compress(changelog(name, version).encode(), mtime=0))
        contents(root, name, version)
        file = directory / f"{name}_{version}_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", str(root), str(file)], check=True, capture_output=True
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"{control}Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\nDescription: {name}\n"


def main(directory: Path, versions: list[str]) -> None:
    os.umask(0o022)  # apt reads it as a user of its own
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    names = ("practice-service", "practice-dies", "practice-held", "practice-reboot", "practice-excluded")
    index = "\n".join(build(directory, name, version) for name in names for version in versions).encode()
    (directory / "Packages").write_bytes(index)
    digest = hashlib.sha256(index).hexdigest()
    (directory / "Release").write_text(
        "Origin: Practice\nLabel: Practice\nSuite: stable\nCodename: practice\n"
        f"SHA256:\n {digest} {len(index)} Packages\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
