"""CodeBuild jobs: shell scripts beside this file, started by events and never by hand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent


def buildspec(script: str, variables: Mapping[str, str]) -> str:
    """A buildspec in JSON, which is YAML, that runs one script of this directory as one command."""
    assignments = "".join(
        f"export HYBRID_{key.upper()}={shlex.quote(value)}\n" for key, value in sorted(variables.items())
    )
    command = f"set -Eeuo pipefail\n{assignments}{(HERE / script).read_text()}"
    return json.dumps(
        {"version": 0.2, "env": {"shell": "bash"}, "phases": {"build": {"commands": [command]}}}, sort_keys=True
    )
