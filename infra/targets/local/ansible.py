"""Run one playbook of the project with ansible-runner, as any operator would run it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ansible_runner

from infra.machines import processes
from infra.machines.state import PROJECT, State

_ROLE_OR_PLUGIN = re.compile(r"(?:hybrid\.platform|\.\.module_utils)\.([a-z0-9_]+)")
_FUNCTION = re.compile(r"^def ([a-z][a-z0-9_]*)\(", re.MULTILINE)
_CODE = ("tasks", "handlers", "templates", "files", "vars", "defaults", "meta")
SAY_EVERY = 5.0


class PlaybookError(Exception):
    """A playbook failed; str() is a line for each host and task that did, and where the whole log is."""


def content_digest(playbook: str, *roles: str) -> str:
    """A digest of the playbook and of every role and plugin of the collection that it reaches.

    Args:
        roles: what the playbook is told by variable to include, which its text does not show.
    """
    digest = hashlib.sha256()
    for file in sorted(_reached(PROJECT / "playbooks" / playbook, roles)):
        digest.update(str(file.relative_to(PROJECT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _reached(playbook: Path, roles: Iterable[str]) -> set[Path]:
    files, queue = set[Path](), [playbook, *(file for role in roles for file in _files_of(role))]
    while queue:
        file = queue.pop()
        if file in files:
            continue
        files.add(file)
        with contextlib.suppress(UnicodeDecodeError):
            for name in set(_ROLE_OR_PLUGIN.findall(file.read_text())):
                queue += _files_of(name)
    return files


def _files_of(name: str) -> Iterator[Path]:
    for part in _CODE:
        yield from (p for p in (PROJECT / "roles" / name / part).rglob("*") if p.is_file())
    yield from (PROJECT / "plugins").glob(f"*/{name}.py")
    yield from _filter_files().get(name, ())


@functools.cache
def _filter_files() -> dict[str, list[Path]]:
    """The files that define each filter: a filter has its function's name, and shares its file with others."""
    found: dict[str, list[Path]] = {}
    for file in (PROJECT / "plugins/filter").glob("*.py"):
        for name in _FUNCTION.findall(file.read_text()):
            found.setdefault(name, []).append(file)
    return found


def run_playbook(state: State, name: str, playbook: str, inventory: dict[str, Any], variables: dict[str, Any]) -> None:
    """Run playbooks/<playbook>; its log is kept as logs/<name>.log, its secrets are not kept at all.

    Raises:
        PlaybookError: if a task failed or a host could not be reached.
    """
    runs = state.runtime / "ansible" / name
    # A run whose `pulumi up` was killed goes on by itself; two at once would undo each other.
    processes.end(processes.with_argument(str(runs)))
    shutil.rmtree(runs, ignore_errors=True)
    private = runs / str(os.getpid())
    private.mkdir(parents=True, mode=0o700)
    log = state.logs() / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    progress = _Progress()
    try:
        result = ansible_runner.run(
            private_data_dir=str(private),
            project_dir=str(PROJECT),
            playbook=str(PROJECT / "playbooks" / playbook),
            inventory=inventory,
            extravars=variables,
            ident="run",
            quiet=True,
            event_handler=progress.event,
            envvars=_environment(state),
        )
        if result.status != "successful":
            stdout = private / "artifacts" / "run" / "stdout"
            words = progress.failures or (stdout.read_text().splitlines()[-20:] if stdout.exists() else [])
            raise PlaybookError("\n".join([f"{playbook} failed ({result.status}):", *words, f"whole log: {log}"]))
    finally:
        # Its secrets go whatever becomes of its log.
        try:
            if (private / "artifacts/run/stdout").exists():
                shutil.copyfile(private / "artifacts/run/stdout", log)
        except OSError as error:
            print(f"{log} could not be written: {error.strerror}", flush=True)
        finally:
            shutil.rmtree(private, ignore_errors=True)


def _environment(state: State) -> dict[str, str]:
    return {
        "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.posix.profile_tasks",
        "ANSIBLE_LOCAL_TEMP": str(state.runtime / "ansible" / "tmp"),
        # Control sockets have a length limit, so they cannot live in a deep checkout.
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(state.runtime / "ssh"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


class _Progress:
    """Says now and then which task is running, and remembers what failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self._said = time.monotonic()

    def event(self, event: dict[str, Any]) -> bool:
        data = event.get("event_data", {})
        kind = event.get("event")
        if kind == "playbook_on_task_start" and time.monotonic() - self._said > SAY_EVERY:
            self._said = time.monotonic()
            print(data.get("task", ""), flush=True)
        elif kind == "runner_on_unreachable" or (kind == "runner_on_failed" and not data.get("ignore_errors")):
            self.failures.append(f"{data.get('host')}: {data.get('task')}: {_words(data.get('res', {}))}")
        return False


def _words(result: dict[str, Any]) -> str:
    if "censored" in result:
        return "the output is hidden because it may hold a secret"
    items = [_words(item) for item in result.get("results", []) if item.get("failed")]
    parts = [str(result[key]).strip() for key in ("msg", "stderr", "stdout") if result.get(key)]
    return " | ".join(parts + items) or str(result)
