#!/usr/bin/env python3
"""Run pulumi: the one on PATH if it is new enough, else the one built from toolchain/pulumi.

For the stack `local` (also when no stack is named) the state, the passphrase and the secrets' salt live
in the platform's state directory, unless the user has chosen a backend. Other stacks are left alone.
Standard library only, and quick: every pulumi command passes through here.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT))

from infra.machines.state import state, write_atomically  # noqa: E402
from toolchain.build import BuildError, build  # noqa: E402

STACK = "local"
TAKES_CONFIG_FILE = {"up", "update", "preview", "pre", "destroy", "down", "refresh", "import", "watch"}


def main() -> int:
    arguments = sys.argv[1:]
    try:
        directory = build("pulumi", lambda line: print(line, file=sys.stderr))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    environment = os.environ | {"HYBRID_PLATFORM_PROJECT": str(PROJECT)}
    # gRPC writes of every process that a program starts; it is not news.
    environment.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    pulumi = str(directory / "pulumi")
    if _stack(arguments) == STACK and "PULUMI_BACKEND_URL" not in environment:
        arguments = _with_local_backend(pulumi, arguments, environment)
    os.execve(pulumi, ["pulumi", *arguments], environment)


def _stack(arguments: list[str]) -> str:
    for index, argument in enumerate(arguments):
        if argument in ("-s", "--stack") and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith("--stack="):
            return argument.partition("=")[2]
    return os.environ.get("PULUMI_STACK", STACK)


def _with_local_backend(pulumi: str, arguments: list[str], environment: dict[str, str]) -> list[str]:
    state().make()
    home = state().directory / "pulumi"
    home.mkdir(exist_ok=True)
    passphrase = home / "passphrase"
    environment["PULUMI_BACKEND_URL"] = f"file://{home / 'backend'}"
    environment["PULUMI_STACK"] = STACK
    environment.setdefault("PULUMI_HOME", str(home / "home"))
    environment.setdefault("PULUMI_SKIP_UPDATE_CHECK", "true")
    environment.setdefault("PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS", "true")
    if "PULUMI_CONFIG_PASSPHRASE" not in environment:
        environment.setdefault("PULUMI_CONFIG_PASSPHRASE_FILE", str(passphrase))
    with (home / "init.lock").open("w") as lock:
        # Of two first commands at once the second finds what the first has made.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not passphrase.exists():
            write_atomically(passphrase, secrets.token_urlsafe(32), mode=0o600)
        salted = _initialised(pulumi, home, environment)
    if TAKES_CONFIG_FILE & set(arguments) and not any(a.startswith("--config-file") for a in arguments):
        config = home / f"Pulumi.{STACK}.yaml"
        write_atomically(config, (PROJECT / config.name).read_text() + salted.read_text(), mode=0o600)
        arguments = [*arguments, "--config-file", str(config)]
    return arguments


def _initialised(pulumi: str, home: Path, environment: dict[str, str]) -> Path:
    """The file with the salt that `stack init` writes; made in a folder aside, so that the checkout stays clean."""
    aside = home / "init"
    salted = aside / f"Pulumi.{STACK}.yaml"
    if not salted.exists():
        # A stack without its salt is what an `init` leaves that was killed; nothing was ever deployed to it.
        unfinished = home / "init.building"
        for leftover in (aside, unfinished, home / "backend"):
            shutil.rmtree(leftover, ignore_errors=True)
        for made in (unfinished, home / "backend"):
            made.mkdir()
        (unfinished / "Pulumi.yaml").write_text("name: hybrid-platform\nruntime: python\n")
        command = [pulumi, "stack", "init", STACK, "--non-interactive", "-C", str(unfinished)]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        unfinished.rename(aside)
    return salted


if __name__ == "__main__":
    sys.exit(main())
