"""User data and SSM scripts: checked shell files, with assignments in front."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent
# EC2 takes 16 KiB before base64.
USER_DATA_LIMIT = 16 * 1024


def script(name: str, variables: Mapping[str, str]) -> str:
    """`library.sh` and the named file, behind HYBRID_* assignments. User data is stored in clear: no secret here.

    Raises:
        ValueError: if the script is too long to be user data.
    """
    assignments = "".join(f"HYBRID_{key.upper()}={shlex.quote(value)}\n" for key, value in sorted(variables.items()))
    body = (HERE / "library.sh").read_text() + "\n" + (HERE / name).read_text()
    text = f"#!/bin/bash\n{assignments}{body}"
    if len(text.encode()) > USER_DATA_LIMIT:
        raise ValueError(f"the script {name} is {len(text.encode())} bytes long; user data holds {USER_DATA_LIMIT}")
    return text
