"""Two machines of one image are two machines: each makes its identity at its first boot."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import testinfra

from infra.machines.cgroup import ControlGroup
from infra.machines.nspawn import host_has_systemd
from infra.machines.state import PROJECT

BOOT_WITHIN = 90
MIB = 2**20
IDENTITY = ("etc/machine-id", "etc/ssh/ssh_host_ed25519_key.pub", "etc/ssh/ssh_host_ed25519_key")
SEED = "var/lib/systemd/random-seed"


def wait_until_up(ready: socket.socket, machine: subprocess.Popen) -> bool:
    """Whether its first process says that everything has started."""
    ends = time.monotonic() + BOOT_WITHIN
    while time.monotonic() < ends and machine.poll() is None:
        with contextlib.suppress(TimeoutError):
            if b"READY=1" in ready.recv(4096).split(b"\n"):
                return True
    return False


def boot(root: Path) -> None:
    """Boot the root as it is, without network and without anything put into it, and power it off again."""
    scope = f"hp-clone-{os.getpid()}-{root.parent.name}"
    cgroup = None if host_has_systemd() else ControlGroup(scope)
    command = ["setpriv", "--pdeathsig", "KILL", "systemd-nspawn", "--quiet", "--boot", f"--directory={root}"]
    command += [f"--machine={scope}", "--private-network", "--console=read-only", "--notify-ready=yes"]
    command += ["--link-journal=no", "--resolv-conf=off", "--timezone=off", "--settings=no"]
    command += [] if host_has_systemd() else ["--register=no", "--keep-unit"]
    command.append("systemd.show_status=no")
    if cgroup:
        cgroup.create()
        cgroup.limit(512 * MIB, 1.0)
    console = root.parent / "console.log"
    with console.open("wb") as log, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        ready.bind(f"\0{scope}")
        ready.settimeout(1)
        machine = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network", "NOTIFY_SOCKET": f"@{scope}"},
            preexec_fn=lambda: cgroup.add(os.getpid()) if cgroup else None,
        )
        try:
            is_up = wait_until_up(ready, machine)
            assert is_up, f"not up after {BOOT_WITHIN} s: {console.read_text(errors='replace')[-2000:]}"
            machine.terminate()
            machine.wait(timeout=60)
        finally:
            machine.kill()
            machine.wait()
            if cgroup:
                cgroup.remove()


@pytest.fixture(scope="module")
def clones(copy_of):
    roots = [copy_of("first"), copy_of("second")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(boot, roots))
    return roots


@pytest.mark.parametrize("file", IDENTITY)
def test_two_clones_differ(clones, file):
    first, second = ((root / file).read_bytes() for root in clones)
    assert first and second and first != second


def test_two_clones_share_no_random_seed(clones):
    """A system container has none: it takes its randomness from the host's kernel. Virtual machines are below."""
    seeds = [(root / SEED).read_bytes() for root in clones if (root / SEED).exists()]
    assert len(seeds) == len(set(seeds))


def test_what_was_made_at_the_first_boot_stays(clones):
    before = {file: (clones[0] / file).read_bytes() for file in IDENTITY}
    boot(clones[0])
    assert {file: (clones[0] / file).read_bytes() for file in IDENTITY} == before


@pytest.fixture(scope="module")
def virtual_machines(scratch):
    """Two real virtual machines of one image, by the command that tests of roles start theirs with."""
    directory = scratch / "machines"
    command = [sys.executable, "-m", "infra.targets.local.machines_cli"]
    wanted = json.dumps([{"name": name, "release": "debian-13"} for name in ("one", "two")])
    environment = os.environ | {"MACHINE_DRIVER": "qemu"}
    try:
        subprocess.run([*command, "up", str(directory), wanted], cwd=PROJECT, env=environment, check=True)
        inventory = directory / "inventory.yml"
        yield [testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}&force_ansible=True")
               for name in ("one", "two")]  # fmt: skip
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run([*command, "down", str(directory)], cwd=PROJECT, env=environment, check=True)


@pytest.mark.virtual_machines
def test_two_virtual_machines_differ(virtual_machines):
    for question in ("cat /etc/machine-id", f"sha256sum /{SEED}", "cat /proc/sys/kernel/random/boot_id",
                     "cat /etc/ssh/ssh_host_ed25519_key.pub"):  # fmt: skip
        first, second = (host.check_output(question) for host in virtual_machines)
        assert len(first) >= 32 and first != second, question
