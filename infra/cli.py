"""What the commands under infra/ have in common: how they read a plan, speak and fail."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import NoReturn

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


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day, e.g. 2026-11-23") from None


@contextmanager
def told_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """Errors of these kinds, and files that cannot be read or written, end the command without a traceback."""
    try:
        yield
    except BrokenPipeError:
        # Whoever reads has seen enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except kinds as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    err.print(Text(message, style="red"))
    sys.exit(1)
