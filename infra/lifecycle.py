"""What `make up` and `make down` do around `pulumi up` and `pulumi destroy` on the local stack.

Both can be interrupted at any moment and typed again: what a dead run left behind is cleared first.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.machines import images, processes, supervisor
from infra.machines.host import CommandError, run
from infra.machines.state import PROJECT, State, state
from infra.preflight import shortages
from infra.targets.local import host_settings, network
from toolchain.build import being_built, cache_directory

PULUMI = str(PROJECT / "toolchain/pulumi.py")
console = Console(highlight=False)


def up() -> int:
    started = time.time()
    if is_busy(state()):
        return 1
    end_leftovers(state())
    for shortage in shortages(state().directory):
        console.print(f"[yellow]This machine is short of what the platform needs:[/] {shortage}")
    code = _pulumi("up", "--yes", "--skip-preview", "--suppress-outputs")
    if code == 0:
        code = _verify()
    _print_times(state(), started)
    if code != 0:
        console.print("[red]The platform is not up.[/] `make up` again continues; .platform/logs has every log.")
        return code
    _write_report()
    _print_where()
    return 0


def down() -> int:
    started = time.time()
    here = state()
    if is_busy(here):
        return 1
    if (here.directory / "pulumi").exists() and _pulumi("destroy", "--yes", "--skip-preview") != 0:
        console.print("pulumi destroy did not finish; removing what is left of the platform on this machine")
    if left := sweep(here):
        console.print("[red]Not everything could be removed[/]; `make down` again tries it again. What is left:")
        console.print(*left, sep="\n")
        return 1
    console.print(
        f"Removed; {time.time() - started:.0f} s. The cache in {cache_directory()} stays (`make clean-cache`)."
    )
    return 0


@contextlib.contextmanager
def alone(here: State) -> Iterator[None]:
    """Keep other runs of `make up` and `make down` away from the platform; ends the program if there is one."""
    here.make()
    with (here.directory / "lifecycle.lock").open("w") as lock:
        if not _taken(lock.fileno()):
            sys.exit("Another `make up` or `make down` is at work on this platform. Wait for it or end it.")
        yield


def _taken(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever has removed the platform meanwhile has removed this file with it.
        return os.fstat(lock).st_nlink > 0
    return False


def is_busy(here: State) -> bool:
    """Whether another pulumi is at work on the platform, which is then told; the locks of dead ones are removed."""
    owners = clear_dead_locks(here)
    for owner in owners:
        console.print(f"[red]{owner} is at work on this platform already.[/] Wait for it or end it, and try again.")
    return bool(owners)


def clear_dead_locks(here: State) -> list[str]:
    """Remove the backend's locks whose process is gone; returns what holds the others."""
    alive = []
    for lock in (here.directory / "pulumi/backend").rglob("locks/**/*.json"):
        with contextlib.suppress(ValueError, KeyError, FileNotFoundError):
            owner = json.loads(lock.read_text())
            # Its host's name says nothing: the state is this machine's alone, and a machine can be given another name.
            if _is_pulumi(owner["pid"]):
                alive.append(f"pulumi (process {owner['pid']})")
            else:
                console.print(f"clearing the lock of process {owner['pid']}, which is gone")
                lock.unlink()
    return alive


def _is_pulumi(process: int) -> bool:
    """After a reboot the number may be somebody else's."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/comm").read_text().strip() == "pulumi"
    return False


def end_leftovers(here: State) -> None:
    """End the playbook runs of a pulumi that was killed, which would work against what comes now."""
    processes.end(processes.with_argument(str(here.runtime / "ansible")))


def sweep(here: State) -> list[str]:
    """Remove machines, bridge, state and what was changed on the host, whether or not Pulumi still knows of them.

    Returns:
        a line for each thing that could not be removed; everything else is gone all the same.
    """
    left: list[str] = []

    def tried(what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except (CommandError, OSError, RuntimeError) as error:
            left.append(f"{what}: {error}")

    end_leftovers(here)
    tried("machines", lambda: supervisor.stop(here.directory / "machines"))
    for directory in sorted((here.directory / "machines").glob("*")):
        tried(directory.name, lambda directory=directory: _clean_up(directory))  # type: ignore[misc]
    tried(here.bridge, lambda: network.delete({"bridge": here.bridge}))
    tried("the host's settings", host_settings.give_back)
    for directory in (here.runtime, here.directory):
        tried(str(directory), lambda directory=directory: _remove_directory(directory))  # type: ignore[misc]
    return left


def _clean_up(directory: Path) -> None:
    # Of a machine that was never whole there is nothing to clean up.
    with contextlib.suppress(FileNotFoundError, TypeError, ValueError):
        supervisor.driver_of(directory).clean_up()


def _remove_directory(directory: Path) -> None:
    """All of it that can be.

    Raises:
        OSError: the first thing that could not.
    """
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        shutil.rmtree(directory)


def clean_cache() -> int:
    """Remove what can be made again. An image that somebody uses stays: the machines' roots are layers above it."""
    cache = cache_directory()
    if building := being_built(cache):
        console.print(f"[red]Nothing was removed:[/] {', '.join(building)} is being built by another run; wait for it")
        return 1
    if not (cache / "images").is_dir():
        shutil.rmtree(cache, ignore_errors=True)
        return 0
    if (code := _prune(cache / "images")) != 0:
        return code
    for path in [*cache.iterdir(), *(cache / "images").iterdir()]:
        # Images with a manifest are those that pruning knows; the others are unfinished, or stock Debian.
        known = (path / "manifest.json").exists() and path.suffix != ".building"
        if path.is_dir() and path.name != "images" and not known and not images.users(path):
            shutil.rmtree(path)
    return 0


def _prune(directory: Path) -> int:
    """Remove the images that are neither promoted nor in use, and list those that stay."""
    wanted = {"image_action": "prune", "image_directory": str(directory), "image_keep": 0, "image_unused_hours": 0}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "playbooks/image_lifecycle.yml"]
    command += ["--extra-vars", json.dumps(wanted)]
    return subprocess.run(command, cwd=PROJECT).returncode


def _pulumi(*arguments: str) -> int:
    return subprocess.run([PULUMI, *arguments, "--stack", "local", "--non-interactive"], cwd=PROJECT).returncode


def _verify() -> int:
    """Run the tests that only look, on this platform."""
    console.print("\n[bold]Verifying[/]")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "looks_only", "tests/platform", "--running-platform"]
    return subprocess.run([*command, "-p", "no:cacheprovider"], cwd=PROJECT).returncode


def _write_report() -> None:
    """The page is a service, not a condition: without it the platform is up all the same."""
    if subprocess.run([sys.executable, "-m", "infra.insight", "report"], cwd=PROJECT).returncode != 0:
        console.print("the report could not be written; `make report` tries again")


def _print_times(here: State, since: float) -> None:
    log = here.directory / "timings.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    rows = [row for row in rows if row["started"] >= since]
    table = Table("step", "", "began after", "took", title="Times", title_justify="left")
    for row in sorted(rows, key=lambda r: r["started"]):
        began, took = row["started"] - since, row["ended"] - row["started"]
        table.add_row(row["resource"], row["operation"], f"{began:.0f} s", f"{took:.1f} s")
    if rows:
        console.print(table)
    console.print(f"in all {time.time() - since:.0f} s")


def _print_where() -> None:
    from infra.machines.node_privileges import PRICE

    outputs = json.loads(run(PULUMI, "stack", "output", "--json", "--stack", "local"))
    drivers = {facts["driver"] for facts in outputs["machines"].values()}
    if "nspawn" in drivers:
        console.print("Machines are system containers here (no usable KVM): they share this host's kernel. " + PRICE)
    console.print(f"\nThe platform answers at [bold]{outputs['app_url']}[/]")


def main() -> int:
    commands = ("up", "down", "clean-cache")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=commands)
    if os.geteuid() != 0:
        sys.exit("the local platform makes machines and networks, which needs root")
    command = parser.parse_args().command
    if command == "clean-cache":
        return clean_cache()
    with alone(state()):
        return up() if command == "up" else down()


if __name__ == "__main__":
    sys.exit(main())
