"""The address plan: pure arithmetic, and stable.

A subnet's place depends on its tier and on the letter of its zone alone, never on a position in a list:
adding a zone, or a tier at the end, moves nothing.
"""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Network
from itertools import islice


class Tier(str, Enum):
    """In the order of the address plan; append only."""

    PUBLIC = "public"  # load balancers and NAT gateways, nothing else
    PRIVATE = "private"  # Kubernetes nodes and builds
    ISOLATED = "isolated"  # the VM tier and the endpoints: no route to the internet


_TIER_BITS = 2  # four tiers, one of them spare
_ZONE_BITS = 3  # zones a to h


def subnet_cidr(vpc: str, tier: Tier, zone: str) -> str:
    """The range of one tier in one zone (`eu-central-1a`)."""
    block = _nth(IPv4Network(vpc), _TIER_BITS, list(Tier).index(tier))
    return str(_nth(block, _ZONE_BITS, ord(zone[-1]) - ord("a")))


def _nth(network: IPv4Network, bits: int, index: int) -> IPv4Network:
    return next(islice(network.subnets(prefixlen_diff=bits), index, None))
