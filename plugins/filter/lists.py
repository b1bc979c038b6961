# Apache-2.0 (see LICENSE)
"""Lists that a user gives."""

from __future__ import annotations

import json
from typing import Any


def list_faults(given: dict[str, Any]) -> list[str]:
    """Which of the variables are words. Ansible's own check takes one for a list and leaves Jinja to take it apart."""
    return [
        f"{name} must be a list, and is a word. On a command line it takes JSON to say so: "
        f"-e '{json.dumps({name: value.split(',')})}'"
        for name, value in given.items()
        if isinstance(value, str)
    ]


class FilterModule:
    """Filters of every role that takes lists."""

    def filters(self) -> dict[str, Any]:
        return {"list_faults": list_faults}
