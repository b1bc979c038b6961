"""Make the README's pictures of a page: `python -m tests.report.screenshots PAGE DIRECTORY`."""

import sys
from pathlib import Path

from tests.report.browser import browser

WIDTH, HEIGHT = 1200, 1500


def screenshots(page: Path, directory: Path) -> None:
    """The upper part of the page, in both schemes, with the blast radius of a workload shown."""
    with browser() as opened:
        opened.resize(WIDTH, HEIGHT)
        for scheme in ("light", "dark"):
            opened.show_as(scheme=scheme)
            opened.open(page)
            opened.click("svg [data-workload=web]")
            opened.evaluate("scrollTo(0, 0)")
            file = directory / f"report-{scheme}.png"
            opened.picture(file)
            print(f"{file}: {file.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    screenshots(Path(sys.argv[1]), Path(sys.argv[2]))
