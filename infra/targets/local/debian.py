"""What this machine's own apt is configured with: its mirrors serve the images too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infra.machines.host import run

CODENAMES = {"debian-12": "bookworm", "debian-13": "trixie"}


def sources(release: str) -> list[str]:
    """apt source lines for a release, from the mirrors that the host uses; empty on a host without Debian's.

    mmdebstrap uses Debian's default mirror where it is given none.
    """
    codename = CODENAMES[release]
    output = run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)", "Created-By: Packages")
    rows = {tuple(line.split("|", 1)) for line in output.splitlines()}
    uris = sorted(uri for origin, uri in rows if origin == "Debian")
    security = [uri for uri in uris if "security" in uri]
    main = [uri for uri in uris if "security" not in uri]
    if not main or not security:
        return []
    return [
        f"deb {main[0]} {codename} main",
        f"deb {main[0]} {codename}-updates main",
        f"deb {security[0]} {codename}-security main",
    ]


def bootstrap(
    release: str, root: Path, variant: str, packages: Sequence[str], options: Sequence[str], timeout: float
) -> None:
    """Make a root of one of mmdebstrap's variants with these packages beside.

    Args:
        options: further ones of mmdebstrap.
        timeout: seconds.
    """
    command = ["mmdebstrap", f"--variant={variant}", "--quiet", f"--include={','.join(packages)}"]
    command += ["--dpkgopt=force-unsafe-io", *options]
    run(*command, CODENAMES[release], str(root), *sources(release), timeout=timeout)
