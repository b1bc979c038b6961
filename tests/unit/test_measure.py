"""Measuring: which control groups are read, on either version, and what is the workload's own."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.insight.deployed import deployed
from infra.insight.measure import groups_of, load, sample
from tests.unit.platform_data import objects, outputs, resources

MIB = 2**20


def fill(root: Path, group: str, *, unified: bool, cpu: float, memory: int, idle: int) -> None:
    if unified:
        directory = root / group
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.stat").write_text(f"usage_usec {int(cpu * 1e6)}\nuser_usec 1\n")
        (directory / "memory.current").write_text(str(memory))
        (directory / "memory.stat").write_text(f"anon 1\ninactive_file {idle}\n")
        return
    for hierarchy in ("cpuacct", "memory"):
        (root / hierarchy / group).mkdir(parents=True, exist_ok=True)
    (root / "cpuacct" / group / "cpuacct.usage").write_text(str(int(cpu * 1e9)))
    (root / "memory" / group / "memory.usage_in_bytes").write_text(str(memory))
    (root / "memory" / group / "memory.stat").write_text(f"cache 1\ntotal_inactive_file {idle}\n")


@pytest.mark.parametrize("unified", [True, False], ids=["cgroup v2", "cgroup v1"])
def test_machines_and_pods_are_measured_where_their_groups_are(tmp_path, unified):
    if unified:
        (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    found = objects()
    for index, pod in enumerate(found["pods"]):
        pod["metadata"]["uid"] = f"00-{index}"
    ledger = "system.slice/hp-1-ledger-0.service" if unified else "hp-1-ledger-0"
    node = "hp-1-cluster-0/machine/kubepods"
    second = f"{node}/kubepods-pod00_1.slice" if unified else f"{node}/burstable/pod00-1"
    fill(tmp_path, ledger, unified=unified, cpu=5, memory=400 * MIB, idle=44 * MIB)
    fill(tmp_path, "hp-1-cluster-0", unified=unified, cpu=1, memory=0, idle=0)
    fill(tmp_path, f"{node}/burstable/pod00-0", unified=unified, cpu=1, memory=20 * MIB, idle=10 * MIB)
    fill(tmp_path, second, unified=unified, cpu=1, memory=30 * MIB, idle=0)

    estate = deployed(outputs(), resources(), found)
    groups = groups_of(estate, found["pods"], "hp-1", tmp_path)
    assert set(groups) == {"ledger", "web"}, "tariffs and worker have no group on this host"
    assert len(groups["web"]) == 2

    def work() -> None:
        time.sleep(0.05)
        fill(tmp_path, second, unified=unified, cpu=1.1, memory=30 * MIB, idle=0)

    thread = threading.Thread(target=work)
    thread.start()
    measured = sample(groups, count=1, seconds=0.2, root=tmp_path)
    thread.join()
    assert measured["web"].memory == (30 * MIB,), "the busiest copy counts"
    assert 0.3 < measured["web"].cpu[0] <= 0.5
    assert measured["ledger"].cpu == (0.0,)
    assert measured["ledger"].memory == (356 * MIB,), "what the kernel could give back at once is not held"


class Counting(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 500)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.mark.parametrize(("path", "good"), [("/", True), ("/broken", False)])
def test_load_is_steady_counted_and_over_with_its_block(path, good):
    with ThreadingHTTPServer(("127.0.0.1", 0), Counting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with load(f"http://127.0.0.1:{server.server_port}{path}", rate=40) as answers:
                time.sleep(1)
            asked = answers.good + answers.bad
            assert 20 <= asked <= 48, "40 a second were asked for, and four more may be under way at the start"
            assert (answers.good > 0, answers.bad > 0) == (good, not good)
            time.sleep(0.2)
            assert answers.good + answers.bad == asked, "something still asks"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("url", ["http://93.184.215.14/", "http://example.com/", "https://[2606:2800:21f::1]/"])
def test_load_is_put_on_nobody_elses_host(url):
    with pytest.raises(ValueError, match="load is put on platforms of this host only"), load(url, rate=1):
        pytest.fail("somebody else's host was asked")
