"""Down leaves nothing. Runs last: there is no platform after it."""

import json
import subprocess
from pathlib import Path

from infra.machines.state import State
from infra.targets.local.host_settings import BEFORE


def test_down_removes_every_trace(platform, request):
    here = State(platform.state)
    before = json.loads(BEFORE.read_text())
    platform.down()
    if not list(Path("/sys/class/net").glob("hp-*")):
        assert {setting: int((Path("/proc/sys") / setting).read_text()) for setting in before} == before
    assert not platform.state.exists()
    assert not here.runtime.exists()
    assert here.bridge not in subprocess.run(["ip", "link"], capture_output=True, text=True).stdout
    assert here.bridge not in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    assert not [p for p in Path("/sys/fs/cgroup").glob(f"**/{here.bridge}-*")]
    assert str(platform.state) not in Path("/proc/mounts").read_text()
    left = [p.read_text() for p in Path("/proc").glob("[0-9]*/cmdline") if _names(p, str(platform.state))]
    assert left == []


def _names(cmdline: Path, text: str) -> bool:
    try:
        return text in cmdline.read_text()
    except OSError:
        return False
