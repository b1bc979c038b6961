"""The service answers, and has of its operating system what it expects."""

TALK = """
import socket, sys
with socket.create_connection(("127.0.0.1", 7070), timeout=5) as connection:
    stream = connection.makefile("rw", newline="\\n")
    for question in sys.argv[1:]:
        stream.write(question + "\\n")
        stream.flush()
        print(stream.readline().strip())
"""


def ask(host, *questions):
    words = " ".join(f"'{question}'" for question in questions)
    return host.check_output(f"python3 -c '{TALK}' {words}").splitlines()


def test_the_machine_is_well(host):
    assert host.check_output("systemctl is-system-running || true") == "running"


def test_the_service_answers_by_its_rates(host):
    assert ask(host, "RATE EUR", "LIST", "RATE XXX") == [
        "RATE EUR 1.0842 2026-11-01",
        "LIST CHF EUR USD",
        "ERROR unknown currency",
    ]


def test_nothing_listens_on_the_port_of_the_run_that_failed(host):
    assert not host.socket("tcp://0.0.0.0:7171").is_listening


def test_it_writes_on_after_its_log_was_turned_over(host):
    ask(host, "RATE USD")
    assert "RATE USD" in host.file("/var/log/tariffs/requests.log").content_string
    assert host.file("/var/log/tariffs/requests.log.1").size > 0


def test_the_daily_job_keeps_the_rates(host):
    host.check_output("runuser -u tariffs -- /usr/local/lib/tariffs/archive.sh")
    today = host.check_output("date +%F")
    kept = host.file(f"/var/lib/tariffs/archive/{today}").content_string
    assert "EUR 1.0842 2026-11-01" in kept
    assert host.service("cron").is_running


def test_the_service_can_do_little(host):
    pid = host.check_output("systemctl show --property=MainPID --value tariffs")
    status = dict(line.split(":\t", 1) for line in host.file(f"/proc/{pid}/status").content_string.splitlines())
    assert int(status["CapBnd"], 16) == 0 and int(status["NoNewPrivs"]) == 1 and int(status["Seccomp"]) == 2
    assert host.check_output(f"stat -c %U /proc/{pid}") == "tariffs"
