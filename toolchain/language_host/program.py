"""Run a Pulumi program in this process: `python -m toolchain.language_host.program DIRECTORY`, the rest by stdin.

Standard input is JSON with the fields of Run below; configuration may hold secrets, so it is
never an argument (arguments can be read by every process of the machine).
"""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

import pulumi
import pulumi.runtime
from pulumi.runtime.stack import run_in_stack

ALREADY_REPORTED = 32
"""Exit code: the program failed, and the engine has the error."""


def run(directory: str, request: dict[str, Any]) -> int:
    os.chdir(directory)
    sys.path.insert(0, directory)
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            project=request["project"],
            stack=request["stack"],
            monitor=request["monitor"],
            engine=request["engine"],
            parallel=request["parallel"],
            dry_run=request["dry_run"],
            organization=request["organization"],
            root_directory=request["root_directory"],
        )
    )
    pulumi.runtime.set_all_config(request["config"], request["secret_keys"])
    program = Path(directory) / "__main__.py"
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(run_in_stack(lambda: _execute(program)))
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
    except SystemExit as exit_request:
        return exit_request.code if isinstance(exit_request.code, int) else 1
    except Exception as error:
        if _reported_by_engine(error):
            return ALREADY_REPORTED
        pulumi.log.error(f"The program failed with an unhandled exception:\n{traceback.format_exc()}")
    else:
        return 0
    loop.run_until_complete(_last_words_sent())
    return ALREADY_REPORTED


def _execute(program: Path) -> None:
    runpy.run_path(str(program), run_name="__main__")


def _reported_by_engine(error: Exception) -> bool:
    """A resource's failure reaches the program as a gRPC error that the engine has already shown."""
    text = str(error)
    return "resource monitor shut down" in text.lower() or "resource registration failed" in text.lower()


async def _last_words_sent() -> None:
    """Log messages are sent by tasks of the loop; give them their turn before the process ends."""
    pending = asyncio.all_tasks() - {asyncio.current_task()}
    if pending:
        await asyncio.wait(pending, timeout=2)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], json.load(sys.stdin)))
