"""What `make up` and `make down` do around `pulumi up` and `pulumi destroy` on the local stack.

Both can be interrupted at any moment and typed again: what a dead run left behind is cleared first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.machines import images, supervisor
from infra.machines.host import run
from infra.machines.state import PROJECT, State, state
from infra.preflight import shortages
from infra.targets.local import host_settings, network
from toolchain.build import being_built, cache_directory

PULUMI = str(PROJECT / ".tools/bin/pulumi")
console = Console(highlight=False)


def up() -> int:
    started = time.time()
    if is_busy(state()):
        return 1
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
    sweep(here)
    console.print(
        f"Removed; {time.time() - started:.0f} s. The cache in {cache_directory()} stays (`make clean-cache`)."
    )
    return 0


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
            if owner["hostname"] != socket.gethostname():
                alive.append(f"process {owner['pid']} of {owner['hostname']}")
            elif _is_pulumi(owner["pid"]):
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


def sweep(here: State) -> None:
    """Remove machines, bridge, state and what was changed on the host, whether or not Pulumi still knows of them."""
    for directory in sorted((here.directory / "machines").glob("*")):
        supervisor.stop(directory)
        with contextlib.suppress(FileNotFoundError, TypeError, ValueError):
            supervisor.driver_of(directory).clean_up()
    network.delete({"bridge": here.bridge})
    host_settings.give_back()
    shutil.rmtree(here.runtime, ignore_errors=True)
    shutil.rmtree(here.directory, ignore_errors=True)


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
    commands = {"up": up, "down": down, "clean-cache": clean_cache}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=commands)
    if os.geteuid() != 0:
        sys.exit("the local platform makes machines and networks, which needs root")
    return commands[parser.parse_args().command]()


if __name__ == "__main__":
    sys.exit(main())
