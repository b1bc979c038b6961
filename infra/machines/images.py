"""Who uses a golden image: as long as somebody does, the lifecycle of images leaves it alone.

A link in the image's `users/`, named like the machine, leads to a link in the machine's directory, and that one back to
the image. Whatever becomes of the machine, its directory goes with it, and the circle is broken.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

LOCK = ".lifecycle.lock"
"""The same as that of the collection's module image_directory."""


class ImageGoneError(Exception):
    """The image was removed before the machine could be made; str() says what to do."""


def claim(image: Path, directory: Path, scope: str) -> None:
    """Keep the image for the machine in that directory.

    Raises:
        ImageGoneError: if it is not there any more.
    """
    image.parent.mkdir(parents=True, exist_ok=True)
    with (image.parent / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not image.is_dir():
            raise ImageGoneError(f"the golden image {image} is gone; the same command again builds it anew")
        _point(directory / "image", image)
        (image / "users").mkdir(exist_ok=True)
        _point(image / "users" / scope, directory / "image")
        touch(image)


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


def _point(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)
