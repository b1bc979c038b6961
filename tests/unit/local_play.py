"""Play a few tasks of the collection's roles on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def ansible_playbook(folder: Path, play: dict[str, Any], *options: str) -> subprocess.CompletedProcess[str]:
    """Run it in an empty directory, with Ansible's own settings."""
    (folder / "play.yml").write_text(json.dumps([play]))
    environment = os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".tools/collections")}
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        *options,
        "-i",
        "localhost,",
        "-c",
        "local",
        "play.yml",
    ]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
