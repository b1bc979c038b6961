"""Every property has a name and a type that the provider's SDK declares: the SDK itself lets wrong types through, to be
refused by a plugin, or taken for something else."""

from __future__ import annotations

import collections.abc
import importlib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pulumi
import pytest
from pulumi import _types as sdk

from policy.resources import Deployment, Resource

NUMBERS = {int, float}


@cache
def declared(class_: type) -> Mapping[str, Any]:
    """The types of a class's arguments, by their names in the provider."""
    return sdk.input_type_types(class_)


def arguments_of(resource: Resource) -> type:
    """What the type's class is made of. In its own module: elsewhere an argument of another type may have the name."""
    _, place, name = resource.type.split(":")
    made = getattr(importlib.import_module(f"pulumi_aws.{place.split('/')[0]}"), name)
    module = importlib.import_module(made.__module__)
    return getattr(module, f"{name}InitArgs", None) or getattr(module, f"{name}Args")


def plain(hint: Any) -> Any:
    """The type of a value, out of all that may be given for it: a future, an output, nothing."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    promised = (pulumi.Output, collections.abc.Awaitable)
    left = [h for h in typing.get_args(hint) if h is not type(None) and typing.get_origin(h) not in promised]
    return plain(left[0]) if len(left) == 1 else left


def misfits(value: Any, hint: Any, where: str) -> Iterator[str]:
    """What is wrong with a value, as it goes over the wire: there all numbers are floats."""
    hint = plain(hint)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, list):  # one of several; assets are none of the wire's
        if str in hint and not isinstance(value, str):
            yield f"{where}: {value!r} is no text"
    elif hint in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float) or (hint is int and value != int(value)):
            yield f"{where}: {value!r} is no {hint.__name__}"
    elif hint in (str, bool):
        if not isinstance(value, hint):
            yield f"{where}: {value!r} is no {hint.__name__}"
    elif origin is collections.abc.Sequence:
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
        for item in value if isinstance(value, list) else ():
            yield from misfits(item, inner[0], where)
    elif origin is collections.abc.Mapping:
        if not isinstance(value, dict):
            yield f"{where}: {value!r} is no mapping"
        for key, item in value.items() if isinstance(value, dict) else ():
            yield from misfits(item, inner[1], f"{where}.{key}")
    elif isinstance(hint, type) and sdk.is_input_type(hint):
        yield from unfit(value, hint, where)


def unfit(props: Any, class_: type, where: str) -> Iterator[str]:
    known = declared(class_)
    for key, value in props.items():
        if key not in known:
            yield f"{where}.{key} is not declared"
        elif value is not None:
            yield from misfits(value, known[key], f"{where}.{key}")


def faults(deployment: Deployment) -> list[str]:
    return [fault for r in deployment.aws() for fault in unfit(r.props, arguments_of(r), f"{r.type} {r.name}")]


def test_every_property_is_declared_and_of_its_type(deployed):
    assert faults(deployed) == []


@pytest.mark.parametrize(
    ("kind", "changed", "told"),
    [
        ("ebs/volume", {"size": "10"}, "size: '10' is no int"),
        ("ebs/volume", {"size": 10.5}, "size: 10.5 is no int"),
        ("ebs/volume", {"encrypted": "true"}, "encrypted: 'true' is no bool"),
        ("ebs/volume", {"tags": {"a": 1}}, "tags.a: 1 is no str"),
        ("ebs/volume", {"sizes": 1}, "sizes is not declared"),
        ("ec2/launchTemplate", {"metadataOptions": {"httpPutResponseHopLimit": True}}, "HopLimit: True is no int"),
        ("ec2/launchTemplate", {"blockDeviceMappings": [{"ebs": {"encrypted": True}}]}, "encrypted: True is no str"),
        ("ec2/vpcEndpoint", {"subnetIds": "subnet-1"}, "subnetIds: 'subnet-1' is no list"),
    ],
)
def test_a_property_of_another_type_is_noticed(kind, changed, told, prod):
    victim = prod.of(kind)[0]
    spoiled = Deployment([replace(victim, props={**victim.props, **changed})], prod.stack, prod.plan)
    assert told in "\n".join(faults(spoiled))
