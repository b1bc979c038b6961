"""The AWS stack lives once: up, up again, a promotion, down. The tests look at what happened."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rehearsal import CHECKOUT, PACK, Life, Rehearsal, promote


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory) -> Rehearsal:
    return Rehearsal(tmp_path_factory.mktemp("engine"))


@pytest.fixture(scope="session")
def life(rehearsal) -> Life:
    return Life(
        up=rehearsal.run("up", "--yes", *PACK),  # with its preview, in which nothing is known yet
        again=rehearsal.run("up", "--yes", "--skip-preview", "--expect-no-changes"),
        promotion=rehearsal.run("up", "--yes", "--skip-preview", edit=promote),
        down=rehearsal.run("destroy", "--yes", "--skip-preview"),
        left=rehearsal.resources(),
    )


@pytest.fixture
def checkout_state() -> Iterator[None]:
    """Nothing of all this may end up in the checkout."""

    def state() -> str:
        command = ["git", "status", "--porcelain"]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True).stdout

    before = state()
    yield
    assert state() == before
