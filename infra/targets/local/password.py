"""A password that is made once and kept as a secret of the stack."""

from __future__ import annotations

import secrets
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON = ("length",)


class Password(Resource, module="local", name="Password"):
    """Letters and digits; `value` is encrypted in the state and hidden in every output."""

    value: pulumi.Output[str]

    def __init__(self, name: str, length: int = 40, opts: pulumi.ResourceOptions | None = None) -> None:
        hidden = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        inputs: dict[str, Any] = {"name": name, "length": length, "value": None}
        merged = pulumi.ResourceOptions.merge(opts, hidden)
        super().__init__(ModuleProvider(__name__), name, inputs, merged)


def create(inputs: Values) -> Values:
    alphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
    return {"value": "".join(secrets.choice(alphabet) for _ in range(int(inputs["length"])))}


def update(inputs: Values, old: Values) -> Values:
    return {"value": old["value"]}


def delete(outputs: Values) -> None:
    """Forgetting it is enough."""


def is_intact(outputs: Values) -> bool:
    return bool(outputs.get("value"))
