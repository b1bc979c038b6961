"""Whether the NetworkPolicies of a cluster let a connection pass: the API's own rules, on plain objects."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """One side of a connection: a pod, or (without a namespace) an address outside the cluster."""

    address: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    port_names: Mapping[str, int] = field(default_factory=dict)


def admits(policies: Iterable[Object], source: Endpoint, destination: Endpoint, port: int) -> bool:
    """Whether the source's egress and the destination's ingress policies both let TCP to this port pass."""
    policies = list(policies)
    return _side(policies, "Egress", source, destination, destination, port) and _side(
        policies, "Ingress", destination, source, destination, port
    )


def _side(
    policies: Iterable[Object], direction: str, subject: Endpoint, peer: Endpoint, destination: Endpoint, port: int
) -> bool:
    if subject.namespace is None:
        return True
    applying = [p["spec"] for p in policies if _applies(p, direction, subject)]
    if not applying:
        return True
    key, peers_key = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return any(
        _peer(rule.get(peers_key), peer, subject) and _port(rule.get("ports"), destination, port)
        for spec in applying
        for rule in spec.get(key) or ()
    )


def _applies(policy: Object, direction: str, subject: Endpoint) -> bool:
    spec = policy["spec"]
    # The API server fills policyTypes in; objects that never met it follow the same default.
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        policy["metadata"]["namespace"] == subject.namespace
        and direction in types
        and _selects(spec.get("podSelector") or {}, subject.labels)
    )


def _peer(peers: Iterable[Object] | None, peer: Endpoint, subject: Endpoint) -> bool:
    if not peers:
        return True
    return any(_one_peer(selector, peer, subject) for selector in peers)


def _one_peer(selector: Object, peer: Endpoint, subject: Endpoint) -> bool:
    block = selector.get("ipBlock")
    if block:
        return _within(peer.address, [block["cidr"]]) and not _within(peer.address, block.get("except") or ())
    if peer.namespace is None:
        return False
    namespaces = selector.get("namespaceSelector")
    if namespaces is None:
        in_namespace = peer.namespace == subject.namespace
    else:
        in_namespace = _selects(namespaces, peer.namespace_labels)
    return in_namespace and _selects(selector.get("podSelector") or {}, peer.labels)


def _port(ports: Iterable[Object] | None, destination: Endpoint, port: int) -> bool:
    if not ports:
        return True
    return any(port in _numbers(entry, destination) for entry in ports if entry.get("protocol", "TCP") == "TCP")


def _numbers(entry: Object, destination: Endpoint) -> range:
    first = entry.get("port")
    if first is None:
        return range(1, 65536)
    if isinstance(first, str):
        first = destination.port_names.get(first, 0)
    return range(first, int(entry.get("endPort") or first) + 1)


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _expression(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _expression(expression: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None


def _within(address: str, networks: Iterable[str]) -> bool:
    return bool(address) and any(_contains(network, address) for network in networks)


def _contains(network: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)


def covers(sources: Iterable[str], addresses: Iterable[str]) -> bool:
    """Whether one of the addresses is among sources, which are addresses or networks."""
    networks = list(sources)
    return any(_within(address, networks) for address in addresses)


def addresses_of(pod: Object) -> Iterator[str]:
    for entry in pod.get("status", {}).get("podIPs") or ():
        yield entry["ip"]
