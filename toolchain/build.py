"""Build the pinned external programs into a cache that checkouts share.

Standard library only: `make` runs it before there is a virtual environment.
A program is built into a directory of its own and renamed into place when it is whole, so a killed build
leaves nothing that looks finished; a lock makes the second of two builders wait for the first.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
Report = Callable[[str], None]


class BuildError(Exception):
    """A program could not be built; str() tells which, and the compiler's last words."""


@dataclass(frozen=True)
class Program:
    """One entry of programs.toml; `binaries` maps a file's name to the package that it is built from."""

    name: str
    version: str
    binaries: dict[str, str]
    probe: str = ""
    newer: bool = False
    cgo: bool = False
    tags: str = ""
    ldflags: str = ""

    @property
    def sources(self) -> Path:
        return HERE / self.name

    def key(self) -> str:
        """Changes with everything that the built files depend on, except the Go release."""
        digest = hashlib.sha256(repr((self, platform.machine())).encode())
        for file in sorted(path for path in self.sources.rglob("*") if path.is_file()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()[:16]


def programs() -> dict[str, Program]:
    entries = tomllib.loads((HERE / "programs.toml").read_text())
    return {name: Program(name, **entry) for name, entry in entries.items()}


def cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("HYBRID_PLATFORM_CACHE") or f"{base}/hybrid-platform")


def build(name: str, report: Report = print) -> Path:
    """The directory with the program's binaries, built now if need be.

    Raises:
        BuildError: with the compiler's last lines.
    """
    if found := ready(name):
        return found
    program = programs()[name]
    destination = _destination(program)
    with only_builder(destination.parent, name, report):
        if not destination.is_dir():
            _build_all(program, destination, report)
    return destination


def ready(name: str) -> Path | None:
    """The directory with the program's binaries, if it can be had without building it."""
    program = programs()[name]
    if found := _on_path(program):
        return found
    destination = _destination(program)
    return destination if destination.is_dir() else None


def _destination(program: Program) -> Path:
    return cache_directory() / "programs" / f"{program.name}-{program.version}-{program.key()}"


def _on_path(program: Program) -> Path | None:
    """The directory on PATH that has all of the program's binaries in the right version."""
    if not program.probe:
        return None
    ours = str(PROJECT / ".tools")
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if not p.startswith(ours))
    places = {Path(found).parent for b in program.binaries if (found := shutil.which(b, path=path))}
    if len(places) != 1 or not all((next(iter(places)) / b).exists() for b in program.binaries):
        return None
    command = program.probe.split()
    answer = subprocess.run([next(iter(places)) / command[0], *command[1:]], capture_output=True, text=True)
    match = re.search(r"\d+\.\d+\.\d+", answer.stdout)
    if answer.returncode != 0 or not match:
        return None
    have, want = _numbers(match[0]), _numbers(program.version)
    good = have[0] == want[0] and (have[1] >= want[1] if program.newer else have[1] == want[1])
    return next(iter(places)) if good else None


@contextlib.contextmanager
def only_builder(directory: Path, name: str, report: Report) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / f".{name}.lock").open("w") as lock:
        started = time.monotonic()
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                report(f"{name}: another build of it is running, waiting ({_clock(time.monotonic() - started)})")
                time.sleep(5)
        yield


def being_built(cache: Path) -> list[str]:
    """What `only_builder` is held for anywhere in the cache."""
    building = []
    for file in sorted(cache.glob("*/.*.lock")):
        with file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                building.append(file.name.removeprefix(".").removesuffix(".lock"))
    return building


def _build_all(program: Program, destination: Path, report: Report) -> None:
    for leftover in destination.parent.glob(f"{program.name}-*.building"):
        shutil.rmtree(leftover)
    # A name of its own: a compiler that was not told of its builder's end does not write into this one.
    unfinished = destination.with_name(f"{destination.name}.{os.getpid()}.building")
    unfinished.mkdir()
    started = time.monotonic()
    for number, (binary, package) in enumerate(program.binaries.items(), 1):
        label = f"{program.name}: building {binary} ({number} of {len(program.binaries)})"
        _go_build(program, unfinished / binary, package, label, report)
    if (program.sources / "helpers").is_dir():
        shutil.copytree(program.sources / "helpers", unfinished, dirs_exist_ok=True)
    unfinished.rename(destination)
    report(f"{program.name}: built in {_clock(time.monotonic() - started)}")


def _go_build(program: Program, output: Path, package: str, label: str, report: Report) -> None:
    command = [
        *("setpriv", "--pdeathsig", "KILL"),
        find_go(program.sources / "go.mod"),
        "build",
        "-mod=readonly",
        "-trimpath",
        "-buildvcs=false",
        "-tags",
        program.tags,
    ]
    command += ["-ldflags", "-s -w " + program.ldflags.format(version=program.version), "-o", str(output), package]
    environment = os.environ | {"CGO_ENABLED": str(int(program.cgo)), "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    log = output.with_name(output.name + ".log")
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, cwd=program.sources, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
        )
        started = time.monotonic()
        try:
            while process.poll() is None:
                report(f"{label}, {_clock(time.monotonic() - started)}")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=15)
        finally:
            if process.poll() is None:
                process.terminate()
    if process.returncode != 0:
        words = [line for line in log.read_text().splitlines() if not line.startswith("go: downloading")]
        raise BuildError(f"{label} failed:\n" + "\n".join(words[-15:]))
    log.unlink()


def find_go(module: Path) -> str:
    """A Go that is new enough for a go.mod: the one on PATH, else the one that the virtual environment brings.

    Raises:
        BuildError: if there is none.
    """
    directive = re.search(r"^go (\S+)$", module.read_text(), re.MULTILINE)
    wanted = _numbers(directive[1]) if directive else ()
    for candidate in (shutil.which("go"), str(PROJECT / ".venv/bin/go")):
        if candidate and Path(candidate).exists():
            answer = subprocess.run(
                [candidate, "env", "GOVERSION"],
                capture_output=True,
                text=True,
                env=os.environ | {"GOTOOLCHAIN": "local"},
            )
            if _numbers(answer.stdout) >= wanted:
                return candidate
    raise BuildError(f"no Go {'.'.join(map(str, wanted))} or newer on PATH or in .venv; `make setup` installs one")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the pinned external programs; prints their directories.")
    parser.add_argument("program", nargs="*", help=f"one of {', '.join(programs())}; all when none is named")
    arguments = parser.parse_args()
    if unknown := set(arguments.program) - set(programs()):
        parser.error(f"unknown program {', '.join(sorted(unknown))}; there are {', '.join(programs())}")
    wanted = arguments.program or list(programs())
    try:
        for number, name in enumerate(wanted, 1):
            rest = f" ({len(wanted) - number} more after it)" if number < len(wanted) else ""
            print(build(name, lambda line, rest=rest: print(line + rest, file=sys.stderr)))  # type: ignore[misc]
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
