"""Turn the text of platform.yaml into a Spec, or into one readable line a fault.

The file is read as a stream of events, not composed into a tree by the YAML library: its C composer recurses
without a limit and takes the whole process with it on a file of brackets.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Hashable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn, get_args

import yaml
from pydantic import ValidationError

from infra.spec.errors import Fault, Location, Origin, SpecError, dotted, shortened
from infra.spec.models import IMAGE, NAME, NO_NULL, PACKAGE, VARIABLE, Spec
from infra.spec.rules import RULE_NAME

MAX_BYTES = 16 * 2**20
MAX_DEPTH = 20
MAX_FAULTS = 100
MAX_ITEMS = 1_000
"""In one list or mapping, other than `workloads`. What is longer is a slip, or meant to take time."""
MAX_WORKLOADS = 20_000
MAX_VALUES, VALUES_OF_A_WORKLOAD = 100_000, 30
"""In the whole file: so many, and so many more for each of its workloads. Ten thousand need nearly all of that."""

_EVENTS: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_spec(file: str | Path) -> Spec:
    """Read and validate a platform.yaml.

    Raises:
        SpecError: with every fault of the file, each with its line, field and what is allowed.
    """
    file = Path(file)
    document = _Document(_read(file), file)
    origin = Origin(file, document.lines)
    try:
        spec = Spec.model_validate(document.data)
    except ValidationError as error:
        faults = [_fault(origin, detail) for detail in error.errors(include_url=False)[:MAX_FAULTS]]
        raise SpecError(file, dict.fromkeys(faults)) from None
    spec._origin = origin
    contradictions = list(_contradictions(spec))
    if contradictions:
        raise origin.error(contradictions[:MAX_FAULTS])
    return spec


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SpecError(file, [Fault(1, "", f"is longer than the {MAX_BYTES // 2**20} MiB that are read")])
        return content.decode("utf-8")
    except OSError as error:
        raise SpecError(file, [Fault(1, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SpecError(file, [Fault(line, "", "is not UTF-8 text")]) from None


class _Document:
    """The plain data of a YAML document, with the line of every value.

    Raises:
        SpecError: for what is not YAML, and for what YAML allows and a spec does not need.
    """

    def __init__(self, text: str, file: Path) -> None:
        self.lines: dict[Location, int] = {}
        self._faults: list[Fault] = []
        self._values, self._allowed = 0, MAX_VALUES
        self._scalars: Any = yaml.SafeLoader("")
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_EVENTS))
        try:
            self.data = self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._faults.append(Fault(mark.line + 1 if mark else 1, "", f"is not YAML: {error.problem}"))
        except yaml.YAMLError as error:
            self._faults.append(Fault(1, "", f"is not YAML: {error}".splitlines()[0]))
        except _StopReadingError:
            pass
        if self._faults:
            raise SpecError(file, self._faults)

    def _document(self) -> Any:
        event = next(self._events)
        while isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
            event = next(self._events)
        if not isinstance(event, yaml.MappingStartEvent):
            self._fault(event, (), "must be a mapping with version, name, maturity and workloads")
            return None
        data = self._value(event, ())
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._fault(event, (), "a second document starts here; one is read")
        return data

    def _value(self, event: Any, location: Location) -> Any:
        self.lines.setdefault(location, _line(event))
        self._values += 1
        if self._values > self._allowed:
            self._stop(event, (), f"has more than {self._allowed:,} values")
        if isinstance(event, yaml.AliasEvent):
            # Refused rather than counted: no spec needs aliases, and they are what alias bombs are made of.
            self._fault(event, location, "YAML aliases are not allowed; write the value out")
            return None
        if event.tag and not (event.tag == "!" and isinstance(event, yaml.ScalarEvent)):
            self._fault(event, location, f"YAML tags are not allowed ({event.tag}); write the value alone")
            event.tag = None
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, location)
        if len(location) >= MAX_DEPTH:
            self._stop(event, location, f"is nested more than {MAX_DEPTH} levels deep")
        return self._sequence(location) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(location)

    def _sequence(self, location: Location) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            if len(items) == MAX_ITEMS:
                self._stop(event, location, f"has more than {MAX_ITEMS:,} items")
            items.append(self._value(event, (*location, len(items))))
        return items

    def _mapping(self, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        most = MAX_WORKLOADS if location == ("workloads",) else MAX_ITEMS
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._fault(event, location, "a key must be plain text")
                self._value(event, (*location, "?"))
                self._value(next(self._events), (*location, "?"))
                continue
            key = str(event.value)
            here = (*location, key)
            if len(result) == most:
                self._stop(event, location, f"has more than {most:,} items")
            if key in result:
                self._fault(event, here, f"is given twice (first on line {self.lines[here]})")
                self._value(next(self._events), here)
                continue
            if location == ("workloads",):
                self._allowed += VALUES_OF_A_WORKLOAD
            self.lines[here] = _line(event)
            result[key] = self._value(next(self._events), here)
        return result

    def _scalar(self, event: Any, location: Location) -> Any:
        tag = self._scalars.resolve(yaml.ScalarNode, event.value, event.implicit)
        if tag == "tag:yaml.org,2002:str":
            return event.value
        construct = self._scalars.yaml_constructors.get(tag)
        try:
            if construct is None:
                raise ValueError(f"no plain data has the tag {tag}")
            return construct(self._scalars, yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark))
        except (ValueError, OverflowError, yaml.constructor.ConstructorError) as error:
            self._fault(event, location, f"{shown(event.value)} is not plain data: {error}".splitlines()[0])
            return None

    def _fault(self, event: Any, location: Location, message: str) -> None:
        self._faults.append(Fault(_line(event), dotted(location), message))
        if len(self._faults) >= MAX_FAULTS:
            raise _StopReadingError

    def _stop(self, event: Any, location: Location, message: str) -> NoReturn:
        self._fault(event, location, message)
        raise _StopReadingError


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


class _StopReadingError(Exception):
    """Reading on would only add to the list."""


def _fault(origin: Origin, detail: Any) -> Fault:
    path: Location = tuple(part for part in detail["loc"] if part != "[key]")
    value, context = detail["input"], detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        message = "is not a known field" + _known_fields(path)
    elif kind == "missing":
        message = "is missing"
    elif kind in ("enum", "literal_error"):
        message = f"{shown(value)} is not one of {str(context['expected']).replace(chr(39), '').replace(' or ', ', ')}"
    elif kind == "value_error":
        reason = str(context["error"])
        message = f"{shown(value)} {reason}" if reason.startswith("is ") else reason
    elif kind == "string_pattern_mismatch":
        message = f"{shown(value)} is not {_PATTERNS[context['pattern']]}"
    elif kind in _TYPES:
        message = f"{shown(value)} is not {_TYPES[kind]}"
    else:
        message = f"{shown(value)}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
    return origin.fault(path, message)


_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text; put it in quotes",
    "string_too_short": "text that tells anything",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "too_short": "enough: at least one is needed",
    "tuple_type": "a list",
    "date_type": "a date, e.g. 2026-11-23",
    "date_from_datetime_parsing": "a date, e.g. 2026-11-23",
    "date_from_datetime_inexact": "a date, e.g. 2026-11-23",
}
_PATTERNS = {
    NAME: "a name: lower-case letters, digits and dashes, at most 32, starting with a letter",
    RULE_NAME: "a name: lower-case letters, digits and dashes, at most 48, starting with a letter",
    IMAGE: "the name of a program under workloads/, nor an image by its digest (name@sha256:…)",
    PACKAGE: "the name of a role: lower-case letters, digits and underscores, starting with a letter",
    VARIABLE: "the name of an environment variable: letters, digits and underscores",
    NO_NULL: "text without null characters",
}


def shown(value: Any) -> str:
    """A value of the file in a message; also one too long to be told, or a number too large to be printed."""
    if isinstance(value, (dict, list, tuple)):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**40:
        return "a number of more than 40 digits"
    return shortened(str(value) if isinstance(value, (int, float, date)) else repr(value), 80)


def _known_fields(path: Location) -> str:
    """The fields that the mapping around an unknown one may have, found by following the models' types."""
    kind: Any = Spec
    for part in path[:-1]:
        fields = getattr(kind, "model_fields", {})
        if part in fields:
            kind = fields[part].annotation
        else:
            kind = next((arg for arg in reversed(get_args(kind)) if arg is not Ellipsis), None)
        while kind is not None and type(None) in get_args(kind):
            kind = next(arg for arg in get_args(kind) if arg is not type(None))
    fields = getattr(kind, "model_fields", None)
    return f"; allowed are {', '.join(fields)}" if fields else ""


def suggestion(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    some = list(known)[:8]
    return f"there are {', '.join(some)}" + (f" and {len(known) - 8} more" if len(known) > 8 else "")


def _contradictions(spec: Spec) -> Iterator[tuple[Location, str]]:
    """What is well-formed field by field, but cannot be true together."""
    for name, workload in spec.workloads.items():
        here: Location = ("workloads", name)
        if reserved := _reserved(name):
            yield here, f"a workload cannot be called {name}: {reserved}"
        for field in ("ports", "talks_to"):
            yield from (((*here, field, index), "is given twice") for index in _repeated(getattr(workload, field)))
        for index, peer in enumerate(workload.talks_to):
            if peer == name:
                yield (*here, "talks_to", index), "a workload cannot talk to itself"
            elif peer not in spec.workloads:
                yield (
                    (*here, "talks_to", index),
                    f"{shown(peer)} is not a workload; {suggestion(peer, spec.workloads)}",
                )
            elif not spec.workloads[peer].ports:
                yield (*here, "talks_to", index), f"{peer!r} has no ports to talk to"
        if workload.stateful and workload.replicas == 0:
            yield (*here, "replicas"), "0 (scale to zero) contradicts stateful: true"
        if workload.stateful and not workload.resources.disk:
            yield (*here, "resources"), "a stateful workload needs disk, e.g. 10GiB"
        if workload.public and not workload.ports:
            yield (*here, "public"), "a public workload needs a port"


_KUBERNETES = "Kubernetes has a namespace of that name"
_OWN = "the platform itself has one"
_RESERVED = {
    "default": _KUBERNETES,
    "all": "in an inventory it means every host",
    "ungrouped": "in an inventory it means the hosts of no group",
    "localhost": "it means the machine that deploys",
    "cluster": _OWN,
    "vm-tier": _OWN,
    "kubernetes-control-plane": _OWN,
    "kubernetes-nodes": _OWN,
}


def _reserved(name: str) -> str | None:
    """Why a name, which becomes that of machines, an inventory group and a namespace, is taken."""
    return _RESERVED.get(name) or (_KUBERNETES if name.startswith("kube-") else None)


def _repeated(items: Sequence[Hashable]) -> Iterator[int]:
    seen: set[Hashable] = set()
    for index, item in enumerate(items):
        if item in seen:
            yield index
        seen.add(item)
