"""Look at a shell script as the program renders it: its assignments, the library, itself."""

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
