"""One fresh stock machine, entered as an administrator who is not root, as on Debian's own cloud images."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
WORK = PROJECT / "build" / "scores"
sys.path[:0] = [str(HERE.parent)]

from verdict import BenchmarkError  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Machine:
    """Attributes:
    name: a release and a driver, such as debian-13-nspawn.
    """

    name: str

    @property
    def release(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def driver(self) -> str:
        return self.name.rpartition("-")[2]

    @property
    def directory(self) -> Path:
        return WORK / self.name

    def environment(self) -> dict[str, str]:
        return os.environ | {"MACHINE_DRIVER": self.driver}

    def up(self) -> None:
        # The scanner alone takes half a gigabyte.
        wanted = {"name": self.release, "release": self.release, "stock": True, "memory": 1536}
        self._cli("up", str(self.directory), json.dumps([wanted]))
        key = (self.directory / "ssh" / "key.pub").read_text().strip()
        self.run(
            "useradd --create-home --shell /bin/bash debian && "
            "echo 'debian ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/90-administrators && "
            "chmod 0440 /etc/sudoers.d/90-administrators && install -d -m 0700 -o debian -g debian ~debian/.ssh && "
            f"echo {shlex.quote(key)} >~debian/.ssh/authorized_keys && chown debian: ~debian/.ssh/authorized_keys",
            user="root",
        )

    def down(self) -> None:
        self._cli("down", str(self.directory))

    def _cli(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "infra.targets.local.machines_cli", *arguments]
        checked(command, cwd=PROJECT, env=self.environment())

    def host(self) -> dict[str, str]:
        inventory = json.loads((self.directory / "inventory.yml").read_text())
        return inventory["all"]["hosts"][self.release]

    def run(self, command: str, stdin: bytes = b"", user: str = "debian", allowed: tuple[int, ...] = (0,)) -> str:
        """Run a shell command as root; returns its output."""
        host = self.host()
        ssh = ["ssh", "-q", "-i", host["ansible_ssh_private_key_file"], "-o", "ServerAliveInterval=30"]
        ssh += [*shlex.split(host["ansible_ssh_common_args"]), f"{user}@{host['ansible_host']}"]
        ssh.append(shlex.join(["sudo", "/bin/sh", "-c", command] if user != "root" else ["/bin/sh", "-c", command]))
        done = subprocess.run(ssh, input=stdin, capture_output=True, timeout=3600)
        if done.returncode not in allowed:
            words = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-15:]
            raise BenchmarkError("\n".join([f"{self.name}: `{command}` exited with {done.returncode}", *words]))
        return done.stdout.decode(errors="replace")

    def play(self, playbook: str, collections: Path | None = None, may_fail: bool = False, **variables: Any) -> str:
        """Run a playbook of this directory as that administrator; returns what it said."""
        host = self.host() | {"ansible_user": "debian", "ansible_become": True}
        inventory = self.directory / "play.json"
        inventory.write_text(json.dumps({"all": {"hosts": {self.name: host}}}))
        command = ["ansible-playbook", f"--inventory={inventory}", f"--extra-vars={json.dumps(variables)}"]
        paths = [PROJECT / ".tools" / "collections", *([collections.resolve()] if collections else [])]
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(str(path) for path in paths),
            "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        codes = (0, 2) if may_fail else (0,)
        return checked([*command, str(HERE / playbook)], codes, cwd=PROJECT, env=environment)


def checked(command: list[str], allowed: tuple[int, ...] = (0,), **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
    if done.returncode not in allowed:
        words = (done.stdout + done.stderr)[-6000:]
        raise BenchmarkError(f"`{' '.join(command)}` exited with {done.returncode}:\n{words}")
    return done.stdout
