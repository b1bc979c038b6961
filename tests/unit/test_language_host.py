"""The language host of a self-built pulumi."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "toolchain.language_host", "127.0.0.1:1"]


def is_gone(pid):
    """A child of ours that ended stays as a zombie until we ask."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def assert_ends(pid):
    ends = time.monotonic() + 30
    while not is_gone(pid):
        if time.monotonic() > ends:
            os.kill(pid, signal.SIGKILL)
            pytest.fail("the language host is still there 30 s after it should have ended")
        time.sleep(0.1)


def test_it_ends_with_an_engine_that_was_killed():
    # The shell is the engine: it starts the host, hands its number on and stays.
    script = f"cd {PROJECT} && {' '.join(COMMAND)} & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as engine:
        host = int(engine.stdout.readline())
        assert engine.stdout.readline().strip().isdigit(), "the host has told no port"
        engine.kill()
    assert_ends(host)


def test_it_ends_without_a_word_when_it_is_asked_to():
    with subprocess.Popen(COMMAND, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as host:
        assert host.stdout.readline().strip().isdigit()
        host.terminate()
        assert_ends(host.pid)
        assert host.stdout.read() == ""
