"""How a benchmark of roles ends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn


class BenchmarkError(Exception):
    """Something that keeps from measuring; str() is for the person who called."""


def end_by(measure: Callable[[], list[str]]) -> NoReturn:
    """Measure, print what is at fault, and exit with 1 if anything is, or could not be measured."""
    try:
        faults = measure()
    except BenchmarkError as error:
        sys.exit(str(error))
    print("\n".join(faults))
    sys.exit(1 if faults else 0)
