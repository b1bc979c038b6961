# Apache-2.0 (see LICENSE)
"""What the role firewall is asked to let in."""

from __future__ import annotations

import re
from typing import Any


def firewall_faults(allowed: list[dict[str, Any]]) -> list[str]:
    """Why no rule can be made of an entry, a line a fault; none when one can of all."""
    faults = []
    for number, entry in enumerate(allowed, start=1):
        protocol, port = entry.get("protocol", "tcp"), entry.get("port")
        if protocol not in ("tcp", "udp"):
            if port is not None:
                faults.append(f"entry {number}: {protocol} has no ports, so port must not be there")
        elif not are_ports(str(port)):
            faults.append(f"entry {number}: port must be a number or a range, as 443 or 30000-32767, not {port}")
    return faults


def are_ports(text: str) -> bool:
    if not re.fullmatch(r"\d+(-\d+)?", text):
        return False
    ports = [int(port) for port in text.split("-")]
    return ports == sorted(ports) and ports[0] > 0 and ports[-1] < 65536


class FilterModule:
    """Filters of the role firewall."""

    def filters(self) -> dict[str, Any]:
        """By name."""
        return {"firewall_faults": firewall_faults}
