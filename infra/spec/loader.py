"""Turn the text of platform.yaml into a Spec, or into one readable line a fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from infra.spec.models import Spec

MAX_BYTES = 16 * 2**20
_Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Fault:
    line: int
    path: str
    message: str


class SpecError(Exception):
    """All faults of one file; str() is one `file:line: path: what is wrong` a fault."""

    def __init__(self, file: Path, faults: list[Fault]) -> None:
        self.file, self.faults = file, sorted(faults, key=lambda f: f.line)
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join(f"{self.file}:{f.line}: {f.path + ': ' if f.path else ''}{f.message}" for f in self.faults)


class _Document:
    """The plain data of a YAML document, with the line of every value."""

    def __init__(self, root: yaml.Node) -> None:
        self.lines: dict[_Path, int] = {}
        self.faults: list[Fault] = []
        self._seen: set[int] = set()
        self._loader = yaml.SafeLoader("")
        self.data = self._convert(root, ())

    def line(self, path: _Path) -> int:
        """The line of the value, or of the closest thing around it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def _convert(self, node: yaml.Node, path: _Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        # Anchors are refused rather than counted: no spec needs them, and they are what alias bombs are made of.
        if id(node) in self._seen:
            self.faults.append(Fault(line, _dotted(path), "YAML aliases are not allowed; write the value out"))
            return None
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._convert(item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            return self._loader.construct_object(node)
        except yaml.constructor.ConstructorError as error:
            self.faults.append(Fault(line, _dotted(path), error.problem or "is not plain data"))
            return None

    def _mapping(self, node: yaml.MappingNode, path: _Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in result:
                first = self.lines[(*path, key)]
                self.faults.append(Fault(line, _dotted((*path, key)), f"is given twice (first on line {first})"))
                continue
            self.lines[(*path, key)] = line
            result[key] = self._convert(value_node, (*path, key))
        return result


def _dotted(path: _Path) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def load_spec(file: str | Path) -> Spec:
    """Read and validate a platform.yaml.

    Raises:
        SpecError: with every fault of the file, each with its line, field and what is allowed.
    """
    file = Path(file)
    document = _Document(_compose(file))
    if document.faults:
        raise SpecError(file, document.faults)
    try:
        spec = Spec.model_validate(document.data)
    except ValidationError as error:
        faults = [_fault(document, detail) for detail in error.errors(include_url=False)]
        raise SpecError(file, list(dict.fromkeys(faults))) from None
    faults = [Fault(document.line(path), _dotted(path), message) for path, message in _contradictions(spec)]
    if faults:
        raise SpecError(file, faults)
    return spec


def _compose(file: Path) -> yaml.Node:
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise SpecError(file, [Fault(1, "", f"is {size} bytes long; at most {MAX_BYTES} are read")])
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise SpecError(file, [Fault(1, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise SpecError(file, [Fault(1, "", "is not UTF-8 text")]) from None
    except RecursionError:
        raise SpecError(file, [Fault(1, "", "is nested too deeply")]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpecError(file, [Fault(mark.line + 1 if mark else 1, "", f"is not YAML: {error.problem}")]) from None
    except yaml.YAMLError as error:
        raise SpecError(file, [Fault(1, "", f"is not YAML: {error}")]) from None
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(file, [Fault(1, "", "must be a mapping with version, name, maturity and workloads")])
    return node


def _fault(document: _Document, detail: Any) -> Fault:
    path: _Path = tuple(part for part in detail["loc"] if part != "[key]")
    line, value, context = document.line(path), detail["input"], detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        message = "is not a known field" + _known_fields(path)
    elif kind == "missing":
        message = "is missing"
    elif kind in ("enum", "literal_error"):
        message = f"{value!r} is not one of {str(context['expected']).replace(chr(39), '').replace(' or ', ', ')}"
    elif kind == "value_error":
        reason = str(context["error"])
        message = f"{value!r} {reason}" if reason.startswith("is ") else reason
    elif kind == "string_pattern_mismatch":
        message = f"{value!r} is not a name: lower-case letters, digits and dashes, at most 32, starting with a letter"
    else:
        message = f"{value!r}: {detail['msg'][0].lower()}{detail['msg'][1:]}"
    return Fault(line, _dotted(path), message)


def _known_fields(path: _Path) -> str:
    from infra.spec import models

    model: Any = models.Spec
    for part in path[:-1]:
        if model is models.Spec and part == "workloads":
            model = models.Workload
        elif hasattr(model, "model_fields") and part in model.model_fields:
            model = model.model_fields[part].annotation
    fields = getattr(model, "model_fields", None)
    return f"; allowed are {', '.join(fields)}" if fields else ""


def _contradictions(spec: Spec) -> Iterator[tuple[_Path, str]]:
    """What is well-formed field by field, but cannot be true together."""
    for name, workload in spec.workloads.items():
        here: _Path = ("workloads", name)
        for index, peer in enumerate(workload.talks_to):
            if peer == name:
                yield (*here, "talks_to", index), "a workload cannot talk to itself"
            elif peer not in spec.workloads:
                yield (*here, "talks_to", index), f"{peer!r} is not a workload; there are {', '.join(spec.workloads)}"
            elif not spec.workloads[peer].ports:
                yield (*here, "talks_to", index), f"{peer!r} has no ports to talk to"
        if workload.stateful and workload.replicas == 0:
            yield (*here, "replicas"), "0 (scale to zero) contradicts stateful: true"
        if workload.stateful and not workload.resources.disk:
            yield (*here, "resources"), "a stateful workload needs disk, e.g. 10GiB"
        if workload.public and not workload.ports:
            yield (*here, "public"), "a public workload needs a port"
