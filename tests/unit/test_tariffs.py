"""The tariff service, run as systemd runs it and asked over its port."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROLE = Path(__file__).parents[2] / "roles" / "tariffs"
RATES = "# currency, rate, since\nEUR 1.0842 2026-11-01\nUSD 1.1725 2026-11-01\n"


class Daemon:
    def __init__(self, folder: Path) -> None:
        self.rates, self.log = folder / "rates.conf", folder / "requests.log"
        self.rates.write_text(RATES)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-I", ROLE / "files/tariffs.py", self.rates, str(self.port), self.log]
        self.process = subprocess.Popen(command)

    def connect(self) -> socket.socket:
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=5)
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise AssertionError("the daemon does not listen")

    def ask(self, *lines: str) -> list[str]:
        """The answers to lines sent over one connection, which is then ended."""
        with self.connect() as connection:
            connection.sendall("".join(f"{line}\n" for line in lines).encode())
            connection.shutdown(socket.SHUT_WR)
            return connection.makefile().read().splitlines()

    def logged(self, text: str) -> None:
        for _ in range(100):
            if text in self.log.read_text():
                return
            time.sleep(0.05)
        raise AssertionError(f"{text!r} is not in the log:\n{self.log.read_text()}")


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.process.kill()
    daemon.process.wait()


def test_it_answers_rates_in_one_conversation(daemon):
    assert daemon.ask("RATE EUR", "RATE USD", "LIST") == [
        "RATE EUR 1.0842 2026-11-01",
        "RATE USD 1.1725 2026-11-01",
        "LIST EUR USD",
    ]


def test_it_refuses_what_it_does_not_know_and_goes_on(daemon):
    assert daemon.ask("RATE XXX", "", "rate EUR", "RATE", "RATE EUR") == [
        "ERROR unknown currency",
        "ERROR unknown command",
        "ERROR unknown command",
        "ERROR unknown command",
        "RATE EUR 1.0842 2026-11-01",
    ]


def test_quit_ends_the_conversation(daemon):
    assert daemon.ask("QUIT", "RATE EUR") == []


def test_an_endless_line_is_refused_and_hurts_nobody_else(daemon):
    with daemon.connect() as flood:
        flood.sendall(b"x" * 200)
        assert flood.makefile().readline() == "ERROR line too long\n"
    assert daemon.ask("RATE EUR")


def test_a_silent_client_keeps_nobody_waiting(daemon):
    with daemon.connect():
        assert daemon.ask("RATE EUR") == ["RATE EUR 1.0842 2026-11-01"]


def test_reloading_takes_new_rates(daemon):
    daemon.ask("LIST")
    daemon.rates.write_text("EUR 2 2026-12-01\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("read 1 rates")
    assert daemon.ask("RATE EUR") == ["RATE EUR 2 2026-12-01"]


def test_a_broken_file_changes_nothing_and_says_where(daemon):
    daemon.ask("LIST")
    daemon.rates.write_text("EUR 2 2026-12-01\nEUR cheap today\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("rates.conf:2")
    assert daemon.ask("RATE EUR") == ["RATE EUR 1.0842 2026-11-01"]


def test_it_logs_on_after_logrotate_took_the_file_away(daemon):
    daemon.ask("LIST")
    daemon.log.rename(f"{daemon.log}.1")
    daemon.ask("RATE EUR")
    daemon.logged("'RATE EUR'")


def test_it_ends_when_systemd_asks(daemon):
    daemon.ask("LIST")
    daemon.process.terminate()
    assert daemon.process.wait(timeout=5) == 0


def test_it_does_not_start_without_rates(tmp_path):
    (tmp_path / "rates").write_text("# nothing\n")
    command = [sys.executable, "-I", ROLE / "files/tariffs.py", tmp_path / "rates", "1", tmp_path / "log"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=10)
    assert run.returncode == 1
    assert run.stderr == f"tariffs: {tmp_path}/rates: no rate at all\n"
