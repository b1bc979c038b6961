"""Gather what the controller gets: ansible-core for its Python, what the collection depends on, and its tarball.

python molecule/controller/files/gather.py DIRECTORY PYTHON   (PYTHON is the controller's version, such as 3.13)
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent


def index() -> dict[str, str]:
    """The mirror that pip is configured with is uv's, too."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True)
    return {"UV_DEFAULT_INDEX": asked.stdout.decode().strip()} if asked.returncode == 0 else {}


def install(libraries: Path, python: str) -> None:
    """The pinned versions, by their hashes."""
    command = [BIN / "uv", "pip", "install", "--quiet", "--target", libraries, "--python-version", python]
    command += ["--python-platform", f"{platform.machine()}-manylinux_2_28", "--only-binary", ":all:"]
    command += ["--constraint", PROJECT / "requirements.txt", "ansible"]
    subprocess.run(command, check=True, env=os.environ | index())


def keep_only(collections: Path, wanted: set[str]) -> None:
    for namespace in collections.iterdir():
        for collection in namespace.iterdir() if namespace.is_dir() else ():
            if f"{namespace.name}.{collection.name}" not in wanted:
                shutil.rmtree(collection) if collection.is_dir() else collection.unlink()


def main(directory: Path, python: str) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    install(directory / "libraries", python)
    dependencies = yaml.safe_load((PROJECT / "galaxy.yml").read_text())["dependencies"]
    keep_only(directory / "libraries/ansible_collections", set(dependencies))
    subprocess.run([BIN / "ansible-galaxy", "collection", "build", "--output-path", directory, PROJECT], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
