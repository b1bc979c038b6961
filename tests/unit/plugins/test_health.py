"""hybrid.platform.health"""

import http.server
import socket
import threading

import pytest

from plugins.modules import health


class Clock:
    """Time that passes only where it is slept."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(health, "time", clock)
    return clock


@pytest.fixture
def page():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404 if self.path == "/gone" else 200)
            if self.path == "/cut":
                self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"open for business")

        def log_message(self, *said):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_what_is_well_is_seen_at_the_first_look(call, clock, page, tmp_path):
    port = int(page.rpartition(":")[2])
    for check in ({"command": "test -d /"}, {"port": port}, {"url": f"{page}/", "contains": "open"}):
        call(health, **check)
    call(health, url=f"{page}/gone", status=404, name="what has to be gone")
    assert clock.now == 0


def test_what_comes_up_late_is_waited_for_until_the_limit_and_no_longer(call, clock, failure, tmp_path):
    tries = tmp_path / "tries"
    command = f"sh -c 'echo x >>{tries}; test $(wc -l <{tries}) -ge 3'"
    call(health, command=command, timeout=20)
    assert clock.now == 2 * health.PAUSE
    with pytest.raises(failure, match="within 20 s false ends with 1"):
        call(health, command="false", timeout=20)
    assert 18 <= clock.now - 2 * health.PAUSE <= 20


def test_a_command_that_hangs_ends_at_the_limit(call, failure):
    with pytest.raises(failure, match="within 1 s sleep does not end"):
        call(health, command="sleep 60", timeout=1)


def test_a_failure_says_what_was_wrong(call, failure, page):
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    for check, said in (
        ({"command": "sh -c 'echo no disk; exit 3'"}, "ends with 3: no disk"),
        ({"command": "/nowhere/check"}, "/nowhere/check cannot be run: No such file"),
        ({"port": closed}, f"127.0.0.1:{closed} does not answer"),
        ({"url": f"http://127.0.0.1:{closed}/"}, "does not answer"),
        ({"url": f"{page}/gone"}, "answers with 404, and not 200"),
        ({"url": f"{page}/", "contains": "closed"}, 'does not contain "closed"'),
        ({"url": f"{page}/cut"}, "does not answer in full: IncompleteRead"),
    ):
        with pytest.raises(failure, match=said):
            call(health, timeout=1, **check)


def test_a_failure_says_no_secret_of_the_check(call, failure, page):
    """It goes into the evidence, which others read."""
    there, nowhere = page.replace("//", "//mon:hunter2@"), "http://mon:hunter2@127.0.0.1:9"
    for check, said in (
        ({"command": "false --password=hunter2"}, "within 1 s false ends with 1"),
        ({"command": "false hunter2", "name": "the queue"}, "within 1 s the queue ends with 1"),
        ({"command": "/nowhere/check hunter2"}, "within 1 s /nowhere/check cannot be run"),
        ({"command": "check 'hunter2"}, "^the command cannot be read"),
        ({"url": f"{nowhere}/x?token=hunter2"}, "within 1 s http://127.0.0.1:9/x does not answer"),
        ({"url": f"{there}/?hunter2"}, f"within 1 s {page}/ does not contain"),
        ({"url": f"{page}/gone/hunter2", "name": "the shop"}, "within 1 s the shop does not contain"),
        ({"url": "htp//mon:hunter2@127.0.0.1/x"}, "the URL cannot be asked"),
        ({"url": "mon:hunter2@127.0.0.1/x"}, "the URL does not answer"),
        ({"url": "http://mon:hunter2/x"}, "the URL cannot be asked"),
        ({"url": f"{page}/x y?hunter2"}, f"{page}/x y cannot be asked"),
    ):
        with pytest.raises(failure, match=said) as told:
            call(health, timeout=1, contains="closed", **check)
        assert "hunter2" not in str(told.value)


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(
    ("command", "said"), [("it's", "^the command cannot be read: No closing"), ("", "the command is empty")]
)
def test_a_command_that_nobody_could_run_is_told_at_once(call, clock, failure, command, said, check):
    with pytest.raises(failure, match=said):
        call(health, check, command=command)
    assert clock.now == 0


def test_a_check_runs_no_command(call, tmp_path):
    call(health, check=True, command=f"touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()
