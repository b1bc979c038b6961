"""What the commands under infra/ have in common: how they read a plan, speak and fail."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from infra.placement import Plan, Runtime, place
from infra.spec import SpecError, load_spec

RUNTIME_COLOURS = {Runtime.VM: "blue", Runtime.MICROVM: "magenta", Runtime.CONTAINER: "green"}

# rich leaves colours out by itself where the stream is no terminal, and honours NO_COLOR. A pipe has no width.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
err = Console(stderr=True, soft_wrap=True, highlight=False)


def add_spec_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--spec", type=Path, default=Path("platform.yaml"), help="the spec to read (%(default)s)")


def plan_of(file: Path) -> Plan:
    """The placed spec; exits with one line a fault where it is not valid."""
    try:
        return place(load_spec(file))
    except SpecError as error:
        err.print(Text(str(error), style="red"))
        sys.exit(1)


def runtime_text(runtime: Runtime) -> Text:
    return Text(runtime.value, style=RUNTIME_COLOURS[runtime])


def fail(message: str) -> None:
    err.print(Text(message, style="red"))
    sys.exit(1)
