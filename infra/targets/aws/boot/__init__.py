"""User data and SSM scripts: checked shell files, with assignments in front."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import Path

HERE = Path(__file__).parent
# EC2 takes 16 KiB before base64.
USER_DATA_LIMIT = 16 * 1024


def script(name: str, variables: Mapping[str, str]) -> str:
    """`library.sh` and the named file, behind HYBRID_* assignments: a whole script."""
    assignments = "".join(f"HYBRID_{key.upper()}={shlex.quote(variables[key])}\n" for key in sorted(variables))
    return f"#!/bin/bash\n{assignments}{(HERE / 'library.sh').read_text()}\n{(HERE / name).read_text()}"


def user_data(name: str, variables: Mapping[str, str]) -> str:
    """A script as EC2 takes it. It is stored in clear: no secret belongs into the variables.

    Raises:
        ValueError: if the script is too long.
    """
    text = script(name, variables).encode()
    if len(text) > USER_DATA_LIMIT:
        raise ValueError(f"the script {name} is {len(text)} bytes long; user data holds {USER_DATA_LIMIT}")
    return base64.b64encode(text).decode()


def node_user_data(packages_url: str) -> str:
    """User data of sandboxed nodes, which EKS joins with its own: install gVisor, and tell containerd of it."""
    parts = MIMEMultipart(boundary="==NODE==")
    install = f"#!/bin/bash\nHYBRID_PACKAGES={shlex.quote(packages_url)}\n{(HERE / 'sandbox.sh').read_text()}"
    parts.attach(MIMEText(install, "x-shellscript", "us-ascii"))
    node = MIMEText((HERE / "sandbox-node.yaml").read_text(), "plain", "us-ascii")
    node.replace_header("Content-Type", "application/node.eks.aws")
    parts.attach(node)
    return base64.b64encode(parts.as_string().encode()).decode()
