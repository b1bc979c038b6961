"""Commands of the host: what is told of their failure, and that they end with us."""

import os
import subprocess
import sys
import time

import pytest

from infra.machines import processes
from infra.machines.host import CommandError, run
from infra.machines.state import PROJECT


def test_a_command_that_hangs_is_told_like_one_that_fails():
    with pytest.raises(CommandError, match=r"`sleep 60` did not end within 0\.1 s"):
        run("sleep", "60", timeout=0.1)


@pytest.mark.skipif(os.geteuid() != 0, reason="a process namespace of its own needs root")
def test_a_build_that_is_killed_leaves_nothing_running(tmp_path):
    mark = str(tmp_path / "mark")
    # As mmdebstrap and Ansible do: one of them starts a session of its own.
    builder = f"setsid sh -c 'sleep 60; true' {mark} & touch {mark}; sleep 60; true"
    program = f"from infra.machines.host import run_streaming; run_streaming(['sh', '-c', {builder!r}], '.')"
    with subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT) as us:
        while len(processes.with_argument(mark)) < 1:
            time.sleep(0.05)
        us.kill()
    ends = time.monotonic() + 20
    while processes.with_argument(mark) and time.monotonic() < ends:
        time.sleep(0.05)
    assert processes.with_argument(mark) == []
