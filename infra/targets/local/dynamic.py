"""The one bridge between Pulumi's dynamic providers and this target's modules.

A dynamic provider is pickled into the state; this one is a name, so that editing a module neither
changes the state nor leaves old code in it. Each module that provisions something has functions
`create(inputs)`, `update(inputs, old)`, `delete(outputs)`, and `is_intact(outputs)`; what they
return becomes the resource's outputs, beside its inputs. A replacement is made when the old one is gone, unless the
module says DELETE_BEFORE_REPLACE = False.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from pulumi.dynamic import CreateResult, DiffResult, ReadResult, ResourceProvider, UpdateResult

from infra.machines.state import state

Values = dict[str, Any]
_PROVIDER = "__provider"


class Lifecycle(Protocol):
    """What a module must have to be the life of a resource."""

    REPLACE_ON: tuple[str, ...]

    def create(self, inputs: Values) -> Values: ...
    def update(self, inputs: Values, old: Values) -> Values: ...
    def delete(self, outputs: Values) -> None: ...
    def is_intact(self, outputs: Values) -> bool: ...


class ModuleProvider(ResourceProvider):
    """Provides a resource by the functions of the module of that name."""

    # A module's name is no secret; by default Pulumi encrypts a provider's pickle.
    serialize_as_secret_always = False

    def __init__(self, module: str) -> None:
        super().__init__()
        self.module = module

    def _lifecycle(self) -> Lifecycle:
        _end_with_the_engine()
        return cast(Lifecycle, importlib.import_module(self.module))

    def diff(self, _id: str, _olds: Values, _news: Values) -> DiffResult:
        lifecycle = self._lifecycle()
        # None is an output that the program only declares.
        changed = [k for k, v in _news.items() if k != _PROVIDER and v is not None and v != _olds.get(k)]
        replaces = [key for key in changed if key in lifecycle.REPLACE_ON]
        # What was broken behind Pulumi's back is repaired by an update, also without a refresh.
        return DiffResult(
            changes=bool(changed) or not lifecycle.is_intact(_olds),
            replaces=replaces,
            delete_before_replace=getattr(lifecycle, "DELETE_BEFORE_REPLACE", True),
        )

    def create(self, props: Values) -> CreateResult:
        inputs = _without_provider(props)
        outputs = _timed(inputs, "create", lambda: self._lifecycle().create(inputs))
        return CreateResult(str(inputs["name"]), inputs | outputs)

    def update(self, _id: str, _olds: Values, _news: Values) -> UpdateResult:
        inputs = _without_provider(_news)
        old = _without_provider(_olds)
        outputs = _timed(inputs, "update", lambda: self._lifecycle().update(inputs, old))
        return UpdateResult(inputs | outputs)

    def read(self, id_: str, props: Values) -> ReadResult:
        values = _without_provider(props)
        return ReadResult(id_ if self._lifecycle().is_intact(values) else "", values)

    def delete(self, _id: str, _props: Values) -> None:
        self._lifecycle().delete(_without_provider(_props))


@functools.cache
def _end_with_the_engine() -> None:
    """A provider whose engine was killed would go on by itself, against the next `pulumi up`."""
    engine = os.getppid()

    def watch() -> None:
        while os.getppid() == engine:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _without_provider(values: Values) -> Values:
    return {key: _whole(value) for key, value in values.items() if key != _PROVIDER}


def _whole(value: Any) -> Any:
    """The engine's numbers are all floating; a port is not."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return value


def _timed(inputs: Values, operation: str, action: Callable[[], Values]) -> Values:
    """Run it and leave a line for the table of times that `make up` ends with."""
    started = time.time()
    outputs = action()
    line = {"resource": inputs["name"], "operation": operation, "started": started, "ended": time.time()}
    state().make()
    with (state().directory / "timings.jsonl").open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    return outputs
