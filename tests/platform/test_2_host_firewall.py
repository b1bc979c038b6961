"""A host that drops what it forwards, as Docker and ufw make it do, does not cut machines off.

Three network namespaces stand for a machine, the host and the world outside of it.
"""

import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

BRIDGE = "hp-fw"
MACHINE, HOST_IN, HOST_OUT, WORLD = "10.199.0.2", "10.199.0.1", "198.51.100.1", "198.51.100.2"
NETWORK = {"bridge": BRIDGE, "subnet": "10.199.0.0/24", "gateway": HOST_IN}
SERVE = "from http.server import *; ThreadingHTTPServer(('', 8000), SimpleHTTPRequestHandler).serve_forever()"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 8000), timeout=2).close()"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Host:
    def __init__(self, stack, tmp_path):
        self.names = {role: f"hp-test-{role}-{os.getpid()}" for role in ("machine", "host", "world")}
        for name in self.names.values():
            run("ip", "netns", "add", name)
            stack.callback(run, "ip", "netns", "delete", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        self.wire("world", HOST_OUT, WORLD, "eth0")
        self.inside("host", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
        for role in ("machine", "world"):
            server = subprocess.Popen(
                ["ip", "netns", "exec", self.names[role], sys.executable, "-c", SERVE],
                cwd=tmp_path,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(server.wait)
            stack.callback(server.kill)
            while not self.reaches(role, "127.0.0.1"):
                assert server.poll() is None, f"the server of the {role} has ended"
                time.sleep(0.1)

    def wire(self, role, near, far, interface):
        """A cable from the host to another namespace."""
        host, other = self.names["host"], self.names[role]
        run("ip", "-n", host, "link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", other)
        run("ip", "-n", host, "link", "set", interface, "up")
        if near:
            run("ip", "-n", host, "address", "add", f"{near}/24", "dev", interface)
        run("ip", "-n", other, "address", "add", f"{far}/24", "dev", "eth0")
        run("ip", "-n", other, "link", "set", "eth0", "up")

    def inside(self, role, *command):
        return run("ip", "netns", "exec", self.names[role], *command)

    def network(self, call):
        code = f"from infra.targets.local import network; print(network.{call}({NETWORK}))"
        return self.inside("host", sys.executable, "-c", code).strip()

    def plug_in(self):
        self.wire("machine", "", MACHINE, "vb-machine")
        run("ip", "-n", self.names["host"], "link", "set", "vb-machine", "master", BRIDGE)
        run("ip", "-n", self.names["machine"], "route", "add", "default", "via", HOST_IN)
        run("ip", "-n", self.names["world"], "route", "add", NETWORK["subnet"], "via", HOST_OUT)

    def reaches(self, role, address):
        command = ["ip", "netns", "exec", self.names[role], sys.executable, "-c", CONNECT, address]
        return subprocess.run(command, capture_output=True).returncode == 0

    def forward_rules(self):
        return self.inside("host", "iptables", "-S", "FORWARD")


@pytest.fixture
def host(tmp_path):
    with ExitStack() as stack:
        yield Host(stack, tmp_path)


def test_a_host_that_drops_what_it_forwards_lets_machines_out_and_nobody_in(host):
    host.inside("host", "iptables", "-P", "FORWARD", "DROP")
    before = host.forward_rules()
    host.network("create")
    host.plug_in()
    assert host.reaches("machine", WORLD), host.forward_rules()
    assert not host.reaches("world", MACHINE), host.forward_rules()
    opened = host.forward_rules()
    host.network("create")
    assert host.forward_rules() == opened, "a second run adds rules again"
    host.inside("host", "iptables", "-P", "FORWARD", "ACCEPT")
    assert host.reaches("world", MACHINE), "nobody came in, but that was not the firewall's doing"
    host.inside("host", "iptables", "-P", "FORWARD", "DROP")
    host.network("delete")
    assert host.forward_rules() == before


def test_a_firewall_that_came_later_is_noticed(host):
    host.network("create")
    host.plug_in()
    assert host.network("is_intact") == "True"
    assert "hybrid-platform" not in host.forward_rules(), "a host that drops nothing was touched"
    host.inside("host", "iptables", "-P", "FORWARD", "DROP")
    assert not host.reaches("machine", WORLD)
    assert host.network("is_intact") == "False"
    host.network("create")
    assert host.reaches("machine", WORLD), host.forward_rules()
