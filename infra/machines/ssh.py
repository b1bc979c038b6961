"""SSH keys and known hosts of the machines."""

from __future__ import annotations

from pathlib import Path

from infra.machines.host import run


def make_key(path: Path, comment: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))
