"""What a rule sees: resources, the same whether recorded in a test or shown by the engine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Resource:
    """One resource of a deployment.

    Attributes:
        props: its properties in the provider's camel case, plain data.
        depends_on: URNs of what it waits for, by option or by property.
    """

    type: str
    name: str
    urn: str
    props: Mapping[str, Any]
    provider: str = ""
    parent: str = ""
    depends_on: frozenset[str] = frozenset()
    protect: bool = False
    ignore_changes: tuple[str, ...] = ()
    delete_before_replace: bool = False

    @property
    def tags(self) -> Mapping[str, str]:
        return self.props.get("tags") or {}

    def is_a(self, kind: str) -> bool:
        """Whether it is of an AWS type, given short: `ec2/volume`."""
        return self.type == kind or self.type.startswith(f"aws:{kind}:")


class Deployment(Sequence[Resource]):
    """All resources of a stack."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self._resources = list(resources)

    def __len__(self) -> int:
        return len(self._resources)

    def __getitem__(self, index: Any) -> Any:
        return self._resources[index]

    def of(self, *kinds: str) -> list[Resource]:
        """The resources of some AWS types, given short: `ec2/volume`."""
        return [resource for resource in self._resources if any(resource.is_a(kind) for kind in kinds)]

    def one(self, kind: str, name: str) -> Resource:
        found = [resource for resource in self.of(kind) if resource.name == name]
        if len(found) != 1:
            names = [resource.name for resource in self.of(kind)]
            raise LookupError(f"{len(found)} resources {kind} named {name}; there are {names}")
        return found[0]

    def aws(self) -> list[Resource]:
        return [resource for resource in self._resources if resource.type.startswith("aws:")]


@dataclass(frozen=True)
class Violation:
    message: str
    urn: str = ""


Check = Callable[[Deployment], Iterator[Violation]]


@dataclass(frozen=True)
class Rule:
    """One rule of the pack.

    Attributes:
        name: how a violation is headed.
        description: what holds, and why it matters.
    """

    name: str
    description: str
    check: Check = field(repr=False)


RULES: list[Rule] = []


def rule(check: Check) -> Check:
    """Make a rule of a function; its name with dashes is the rule's name, its docstring the description."""
    description = re.sub(r"\s+", " ", check.__doc__ or "").strip()
    RULES.append(Rule(check.__name__.replace("_", "-"), description, check))
    return check


def violation(resource: Resource, message: str) -> Violation:
    return Violation(f"{resource.name}: {message}", resource.urn)
