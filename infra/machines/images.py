"""Which golden image a new machine starts from, and who uses it: it is left alone as long as somebody does.

An image that has expired or was deprecated is built anew beside itself, of the same content: `<image>.2`, and so on.
A new machine starts from the newest of these generations that is good; one that runs keeps its own.

A link in the image's `users/`, named like the machine, leads to a link in the machine's directory, and that one back to
the image. Whatever becomes of the machine, its directory goes with it, and the circle is broken.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import re
from pathlib import Path

LOCK = ".lifecycle.lock"
"""The same as that of the collection's module image_directory."""


class ImageGoneError(Exception):
    """No machine can be made of the image any more; str() says what to do."""


def newest(image: Path) -> Path | None:
    """The generation of the image that new machines start from, if one is good."""
    return next((path for _, path in sorted(_generations(image).items(), reverse=True) if _is_good(path)), None)


def next_generation(image: Path) -> Path:
    """Where it is built anew."""
    latest = max(_generations(image), default=0)
    return image.with_name(f"{image.name}.{latest + 1}") if latest else image


def claim(image: Path, directory: Path, scope: str) -> Path:
    """Keep the newest generation of the image for the machine in that directory; returns it.

    Raises:
        ImageGoneError: if none is good any more.
    """
    image.parent.mkdir(parents=True, exist_ok=True)
    with (image.parent / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = newest(image)
        if found is None:
            raise ImageGoneError(f"the golden image {image} is gone or outdated; the same command again builds it anew")
        _point(directory / "image", found)
        (found / "users").mkdir(exist_ok=True)
        _point(found / "users" / scope, directory / "image")
        touch(found)
        return found


def release(directory: Path, scope: str) -> None:
    """Give the image back, where there is one."""
    (directory / "image" / "users" / scope).unlink(missing_ok=True)


def users(image: Path) -> list[str]:
    """The machines of an image."""
    links = sorted((image / "users").glob("*"))
    return [link.name for link in links if link.resolve() == image.resolve()]


def touch(image: Path) -> None:
    """Note that somebody has just used the image."""
    os.utime(image)


def _generations(image: Path) -> dict[int, Path]:
    names = re.compile(rf"{re.escape(image.name)}(?:[.](\d+))?")
    found = {path: names.fullmatch(path.name) for path in image.parent.glob(f"{image.name}*")}
    return {int(name[1] or 1): path for path, name in found.items() if name}


def _is_good(image: Path) -> bool:
    if (image / "deprecated.json").exists():
        return False
    try:
        expires = json.loads((image / "manifest.json").read_text())["expires"]
        return datetime.datetime.fromisoformat(expires) > datetime.datetime.now(datetime.UTC)
    except FileNotFoundError:
        return image.is_dir()  # stock Debian has no manifest
    except (KeyError, TypeError, ValueError):
        return False


def _point(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
