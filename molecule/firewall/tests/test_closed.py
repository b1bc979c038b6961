"""What a closed machine lets in, tried from the other machine and from here."""

import json
import os
import socket
from pathlib import Path

import pytest
import testinfra

INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "machines/inventory.yml"
HOSTS = json.loads(INVENTORY.read_text())["all"]["hosts"]
ADDRESS = {name: variables["ansible_host"] for name, variables in HOSTS.items()}

LISTEN = """
import socket, threading
def serve(port):
    listening = socket.create_server(("", port))
    while True:
        connection, _ = listening.accept()
        connection.sendall(b"open")
        connection.close()
for port in (7001, 7002, 7003, 7006):
    threading.Thread(target=serve, args=(port,)).start()
"""
ASK = """
import json, socket, sys
answers = {}
for port in map(int, sys.argv[2:]):
    try:
        with socket.create_connection((sys.argv[1], port), timeout=2) as connection:
            answers[port] = connection.recv(4).decode()
    except OSError as error:
        answers[port] = type(error).__name__
print(json.dumps(answers))
"""


def machine(name):
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY))


def interface(name):
    return machine(name).check_output(f"ip -oneline address show to {ADDRESS[name]}").split()[1]


@pytest.fixture(scope="module", autouse=True)
def _listening():
    """Something answers on the ports that are open, and on one that nobody asked for."""
    for name in ADDRESS:
        machine(name).check_output(f"systemd-run --quiet --collect --unit=listening python3 -c '{LISTEN}'")
    yield
    for name in ADDRESS:
        machine(name).run("systemctl stop listening")


def ask(source, target, *ports):
    there = " ".join(map(str, ports))
    return json.loads(machine(source).check_output(f"python3 -c '{ASK}' {ADDRESS[target]} {there}"))


def test_the_machine_is_well(host):
    assert host.check_output("systemctl is-system-running || true") == "running"


def test_exactly_the_declared_source_comes_to_exactly_its_port():
    assert ask("trixie", "bookworm", 7001, 7002, 7003, 7006, 22) == {
        "7001": "open",
        "7002": "TimeoutError",
        "7003": "TimeoutError",
        "7006": "open",
        "22": "TimeoutError",
    }


def test_a_port_without_sources_admits_nobody():
    assert ask("bookworm", "trixie", 7001, 7002, 7003, 22) == dict.fromkeys(
        ("7001", "7002", "7003", "22"), "TimeoutError"
    )


def test_the_closed_ports_are_open_from_inside_so_the_firewall_closed_them(host):
    name = host.check_output("hostname")
    assert ask(name, name, 7002, 7003) == {"7002": "open", "7003": "open"}


@pytest.mark.parametrize(("protocol", "listener"), [(112, "inactive"), (253, "active")])
def test_of_the_protocols_without_ports_exactly_the_declared_one_comes_in(protocol, listener):
    """By a packet as keepalived sends them; its listener ends with the first."""
    raw, unit = f"from socket import *; s = socket(AF_INET, SOCK_RAW, {protocol})", f"protocol-{protocol}"
    wait = f"systemd-run --quiet --unit={unit} --property=RuntimeMaxSec=60 python3 -c '{raw}; s.recv(99)'"
    machine("bookworm").check_output(wait)
    send = f'{raw}; s.sendto(b"advert", ("{ADDRESS["bookworm"]}", 0))'
    # The listener may still be starting.
    machine("trixie").check_output(f"for i in $(seq 10); do python3 -c '{send}'; sleep 1; done")
    assert machine("bookworm").check_output(f"systemctl is-active {unit} || true") == listener
    machine("bookworm").run(f"systemctl stop {unit}")


def test_an_answer_of_a_dhcpv6_server_comes_in():
    """It comes from another address than the one that was asked, so it belongs to no connection."""
    # These machines' interfaces have no address of version 6 by themselves.
    for name, address in (("bookworm", "fe80::1"), ("trixie", "fe80::2")):
        machine(name).check_output(f"ip -6 address replace {address}/64 dev {interface(name)} nodad")
    listen = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind((str(), 546)); s.recv(9)"
    wait = f"systemd-run --quiet --unit=dhcp --property=RuntimeMaxSec=60 python3 -c '{listen}'"
    machine("trixie").check_output(wait)
    send = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind((str(), 547)); "
    send += f's.sendto(b"reply", ("fe80::2", 546, 0, socket.if_nametoindex("{interface("bookworm")}")))'
    # The listener may still be starting.
    machine("bookworm").check_output(f"for i in $(seq 10); do python3 -c '{send}'; sleep 1; done")
    assert machine("trixie").check_output("systemctl is-active dhcp || true") == "inactive", "no answer arrived"


def test_packets_for_others_are_not_passed_on_and_the_firewall_is_why():
    """Bookworm is made a router with somebody behind it, to whom trixie is told the way."""
    router, behind = machine("bookworm"), "203.0.113.2"
    serve = LISTEN.replace("(7001, 7002, 7003, 7006)", "(7004,)")
    router.check_output(
        f"systemd-run --quiet --collect --unit=behind --property=PrivateNetwork=yes python3 -c '{serve}' && "
        "sleep 1 && inside=$(systemctl show --property=MainPID --value behind) && "
        "ip link add toward type veth peer name back && ip link set back netns $inside && "
        "ip address add 203.0.113.1/24 dev toward && ip link set toward up && "
        "nsenter --net --target=$inside sh -c 'ip address add 203.0.113.2/24 dev back && ip link set back up && "
        "ip route add default via 203.0.113.1' && sysctl --quiet --write net.ipv4.ip_forward=1"
    )
    try:
        machine("trixie").check_output(f"ip route replace {behind} via {ADDRESS['bookworm']}")
        question = f"python3 -c '{ASK}' {behind} 7004"
        assert json.loads(machine("trixie").check_output(question)) == {"7004": "TimeoutError"}
        router.check_output("nft add rule inet hybrid_firewall forward accept")
        assert json.loads(machine("trixie").check_output(question)) == {"7004": "open"}
    finally:
        router.run("nft flush chain inet hybrid_firewall forward; sysctl --write net.ipv4.ip_forward=0")
        router.run("ip link delete toward; systemctl stop behind")
        machine("trixie").run(f"ip route delete {behind}")


@pytest.mark.parametrize("name", ADDRESS)
def test_the_manager_comes_in_by_ssh_and_by_nothing_else(name):
    with socket.create_connection((ADDRESS[name], 22), timeout=3) as connection:
        assert connection.recv(4) == b"SSH-"
    with pytest.raises(TimeoutError):
        socket.create_connection((ADDRESS[name], 7002), timeout=2)


def test_no_timer_is_left_that_would_take_the_rules_back(host):
    assert host.run("systemctl is-active hybrid-firewall-revert.timer").stdout.strip() == "inactive"
