"""Look at a shell script as the program renders it (its assignments, the library, itself), or run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def check_shell(text: str) -> None:
    """Fails with what ShellCheck has against it. Not every script uses each of its assignments."""
    checked = subprocess.run(
        [SHELLCHECK, "--shell=bash", "--severity=style", "--exclude=SC2034", "--format=gcc", "-"],
        input=text,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


# Functions of the library as far as a script calls them; `try` tries once.
STEPS = (
    *("use_package_snapshot", "install_agents", "install_ansible", "attach_data_volume", "fetch_bundle", "play"),
    *("healthy", "finish", "report_patching"),
)


class Machine:
    """Runs scripts in a directory of their own, with stand-ins for functions and commands.

    Attributes:
        home: in place of /opt/hybrid.
        run_directory: in place of /run/hybrid.
        called: the calls of stand-ins, in order.
    """

    def __init__(self, scratch: Path) -> None:
        self.home, self.programs, self._notes = scratch / "home", scratch / "bin", scratch / "notes"
        self.run_directory = scratch / "run"
        for directory in (self.home, self.programs, self.run_directory):
            directory.mkdir()
        self._notes.touch()

    def command(self, name: str, text: str = "") -> None:
        """A command that notes its call and does `text`."""
        self.program(self.programs / name, f"{self.noting(f'{name} $*')}\n{text}")

    def program(self, file: Path, text: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)

    def noting(self, call: str) -> str:
        return f'echo "{call}" >>{self._notes}'

    def run(self, script: str) -> int:
        here = script.replace("/opt/hybrid", str(self.home)).replace("/run/hybrid", str(self.run_directory))
        environment = {"PATH": f"{self.programs}:/usr/bin:/bin"}
        return subprocess.run(["bash", "-c", here], env=environment, capture_output=True, text=True).returncode

    def steps(self, *failing: str) -> str:
        """Stand-ins for the library's steps, in the script's own language."""
        lines = ['try() { shift; "$@"; }']
        for step in STEPS:
            lines.append(f'{step}() {{ echo "{step} $*" >>{self._notes}; {"false" if step in failing else "true"}; }}')
        return "\n".join(lines) + "\n"

    @property
    def called(self) -> list[str]:
        return [line.strip() for line in self._notes.read_text().splitlines()]
