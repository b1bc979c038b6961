"""What is wrong with a file, told by file, line and field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Location = tuple[str | int, ...]
LONGEST = 300
"""A fault is one line that a person reads."""


@dataclass(frozen=True)
class Fault:
    line: int
    path: str
    message: str


class SpecError(Exception):
    """All faults of one file; str() is one `file:line: path: what is wrong` a fault."""

    def __init__(self, file: Path, faults: Iterable[Fault]) -> None:
        self.file, self.faults = file, sorted(faults, key=lambda f: f.line)
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join(f"{self.file}:{f.line}: {_one_line(f)}" for f in self.faults)


@dataclass(frozen=True)
class Origin:
    """The file that a spec came from, and the line of each of its values."""

    file: Path = Path("platform.yaml")
    lines: Mapping[Location, int] = field(default_factory=dict)

    def line(self, location: Location) -> int:
        """The line of the value, or of the closest thing around it that is in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def fault(self, location: Location, message: str) -> Fault:
        return Fault(self.line(location), dotted(location), message)

    def error(self, faults: Iterable[tuple[Location, str]]) -> SpecError:
        return SpecError(self.file, [self.fault(location, message) for location, message in faults])


def _one_line(fault: Fault) -> str:
    """What the file says is repeated to a terminal: it must neither break the line nor control that terminal."""
    text = f"{shortened(fault.path, LONGEST // 3)}: {fault.message}" if fault.path else fault.message
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shortened(printable, LONGEST)


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
