"""The life of a machine as its supervisor and its resource see it, with stand-ins for what runs it."""

import contextlib
import json
import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from infra.machines import qemu, seed, snapshot, supervisor
from infra.machines.config import MachineConfig
from infra.machines.qemu import QemuDriver
from infra.machines.state import State
from infra.targets.local import machine
from tests.unit import platform_data

# Says at its very end, like QEMU, what ended it.
QEMU = """
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1] + ".new")
server.listen()
os.rename(sys.argv[1] + ".new", sys.argv[1])
client = server.accept()[0]
client.sendall(b'{"QMP": {}}\\n')
client.recv(4096)
client.sendall(b'{"event": "SHUTDOWN", "data": {"guest": true, "reason": "%s"}}\\n' % sys.argv[2].encode())
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The state of a platform, with what lives in /run beside it."""
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(State, "runtime", property(lambda _: tmp_path / "run"))
    (tmp_path / "run").mkdir()
    return State(tmp_path / "state")


@pytest.fixture
def vm(here, monkeypatch):
    """A virtual machine that is run by the script above."""
    directory = here.machine("ledger-0")
    directory.mkdir(parents=True)
    platform_data.machine("qemu").write(directory)
    monkeypatch.setattr(QemuDriver, "_boot_files", lambda self: (directory, directory))
    return directory


@pytest.mark.parametrize(("reason", "comes_back"), [("guest-reset", True), ("guest-shutdown", False)])
def test_a_virtual_machine_comes_back_from_a_reboot_also_where_its_last_word_is_late(
    vm, monkeypatch, reason, comes_back
):
    monkeypatch.setattr(
        QemuDriver, "_command", lambda self, *_: [sys.executable, "-c", QEMU, str(self._monitor), reason]
    )
    slow = SimpleNamespace(loads=lambda text: time.sleep(0.3) or json.loads(text), dumps=json.dumps)
    monkeypatch.setattr(qemu, "json", slow)
    driver = supervisor.driver_of(vm)
    process = driver.start()
    process.wait(timeout=30)
    assert driver.wants_restart(process) is comes_back


def test_new_limits_do_not_make_a_supervisor_forget_its_machine(vm):
    at_work = supervisor.Supervisor(vm)
    driver = at_work._driver
    platform_data.machine("qemu", memory=2**31).write(vm)
    at_work._on_limits()
    assert at_work._driver is driver and driver.config.memory == 2**31


def test_new_limits_are_applied(vm, monkeypatch):
    applied = []
    monkeypatch.setattr(QemuDriver, "apply_limits", lambda self: applied.append(self.config.memory))
    at_work = supervisor.Supervisor(vm)
    platform_data.machine("qemu", memory=2**31).write(vm)
    at_work._on_limits()
    assert applied == [2**31]


def test_two_virtual_machines_have_an_interface_of_their_own(tmp_path):
    names = ("longest-name-of-a-workload-1", "longest-name-of-a-workload-11", "a-longest-name-of-a-workload-1")
    taps = {QemuDriver(platform_data.machine("qemu", scope=f"hp-1a2b3c-{n}"), tmp_path)._tap for n in names}
    assert len(taps) == len(names)
    assert all(len(tap) <= 15 for tap in taps)


def test_the_sockets_of_a_machine_in_a_deep_checkout_are_no_longer_than_a_socket_may_be(tmp_path):
    deep = tmp_path.joinpath(*["of-a-deep-checkout"] * 8) / ".platform/machines/ledger-0"
    driver = QemuDriver(platform_data.machine("qemu", name="w" * 32 + "-999"), deep)
    assert max(len(str(socket)) for socket in (driver._monitor, driver._control)) <= 107


def test_a_seed_that_was_half_taken_is_taken_again(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "seed/etc").mkdir(parents=True)
    (tmp_path / "seed/etc/hostname").write_text("ledger-0\n")
    (tmp_path / "seed/srv/data").mkdir(parents=True)
    seed.take_seed(tmp_path, root, owner=os.getuid())
    assert (root / "etc/hostname").read_text() == "ledger-0\n" and not (tmp_path / "seed").exists()


class Standing:
    """A driver whose machine stands still, or does not."""

    def __init__(self, root):
        self.writable, self.still = root, False

    @contextlib.contextmanager
    def standing_still(self):
        self.still = True
        yield
        self.still = False

    def stands_still(self):
        return self.still

    def let_run(self):
        self.still = False


@pytest.fixture
def standing(vm, monkeypatch):
    (vm / "root").mkdir()
    driver = Standing(vm / "root")
    monkeypatch.setattr(supervisor, "driver_of", lambda _: driver)
    monkeypatch.setattr(supervisor, "is_running", lambda _: True)
    return driver


def test_a_machine_stands_still_while_its_root_is_copied(vm, standing, monkeypatch):
    seen = []
    copy = snapshot.run
    monkeypatch.setattr(snapshot, "run", lambda *command: seen.append(standing.still) or copy(*command))
    snapshot.take(vm)
    assert seen == [True] and not standing.still
    assert (vm / snapshot.SNAPSHOT).is_dir()


def test_a_machine_whose_snapshot_was_killed_runs_again_with_the_next_up(vm, standing, monkeypatch):
    monkeypatch.setattr(machine, "start", lambda *_: None)
    monkeypatch.setattr(machine, "_host_key", lambda _: "")
    monkeypatch.setattr(supervisor, "signal_supervisor", lambda *_: None)
    outputs = vars(platform_data.machine("qemu")) | {"data_disk_size": 0}
    assert machine.is_intact(outputs)
    standing.still = True
    assert not machine.is_intact(outputs)
    machine.update(outputs, outputs)
    assert not standing.still and machine.is_intact(outputs)


def test_a_machine_that_runs_keeps_the_generation_of_its_image(vm, standing, monkeypatch):
    monkeypatch.setattr(machine, "start", lambda *_: None)
    monkeypatch.setattr(machine, "_host_key", lambda _: "")
    monkeypatch.setattr(supervisor, "signal_supervisor", lambda *_: None)
    platform_data.machine("qemu", image="/image.2").write(vm)
    inputs = vars(platform_data.machine("qemu", image="/image")) | {"data_disk_size": 0}
    assert machine.update(inputs, inputs)["started_from"] == "/image.2"
    assert MachineConfig.read(vm).image == "/image.2"


def test_up_waits_for_a_snapshot_that_is_being_taken(vm, standing, monkeypatch):
    copying, ended = threading.Event(), threading.Event()

    def run(*_):
        copying.set()
        ended.wait(timeout=30)
        assert standing.still
        (vm / f"{snapshot.SNAPSHOT}.unfinished").mkdir()

    monkeypatch.setattr(snapshot, "run", run)
    taking = threading.Thread(target=snapshot.take, args=(vm,))
    taking.start()
    copying.wait(timeout=30)
    up = threading.Thread(target=snapshot.end_interrupted, args=(vm,))
    up.start()
    up.join(timeout=0.3)
    assert up.is_alive() and standing.still
    ended.set()
    taking.join()
    up.join()
    assert (vm / snapshot.SNAPSHOT).is_dir()


def test_a_machine_that_has_taken_anothers_place_is_not_removed_with_it(vm, monkeypatch):
    removed = []
    monkeypatch.setattr(machine, "_remove", removed.append)
    machine.delete({"name": "ledger-0", "instance_id": "another"})
    assert removed == []
    machine.delete({"name": "ledger-0", "instance_id": "1"})
    assert removed == ["ledger-0"]
