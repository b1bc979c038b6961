"""A machine: an image, a driver, an address; its root is thrown away with it, its data disk is not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from infra.machines import images, snapshot, supervisor
from infra.machines.config import FILE, MachineConfig
from infra.machines.host import CommandError, run, succeeds
from infra.machines.nspawn import host_has_systemd
from infra.machines.patience import patience
from infra.machines.seed import prepare_seed
from infra.machines.state import PROJECT, State, state, write_atomically
from infra.targets.local.dynamic import ModuleProvider, Values

REPLACE_ON = ("image", "driver", "address", "data_disk", "data_disk_owner", "authorized_key", "kubernetes_node")
BOOT_WITHIN = 120.0


class Machine(Resource, module="local", name="Machine"):
    """A running machine that answers on SSH.

    Attributes:
        instance_id: another one means a fresh root: whatever configured it has to run again.
        host_key: the public SSH host key.
        started_from: the generation of the image that was the newest when the machine was made.
    """

    workload: pulumi.Output[str]
    driver: pulumi.Output[str]
    image: pulumi.Output[str]
    address: pulumi.Output[str]
    instance_id: pulumi.Output[str]
    host_key: pulumi.Output[str]
    started_from: pulumi.Output[str]

    def __init__(self, name: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        declared = {"instance_id": None, "host_key": None, "started_from": None}
        super().__init__(ModuleProvider(__name__), name, {"name": name} | dict(inputs) | declared, opts)


def facts(machine: Machine) -> dict[str, pulumi.Output[Any]]:
    """What the stack tells of a machine. A stand-in shares the host's kernel; a VM has its own."""
    return {
        "workload": machine.workload,
        "driver": machine.driver,
        "address": machine.address.apply(lambda address: address.partition("/")[0]),
        "image": machine.started_from.apply(lambda image: Path(image).name),
        "shares_host_kernel": machine.driver.apply(lambda driver: driver == "nspawn"),
    }


def create(inputs: Values) -> Values:
    directory = state().machine(inputs["name"])
    _remove(inputs["name"])
    directory.mkdir(parents=True, mode=0o700)
    image = images.claim(Path(inputs["image"]), directory, _scope(inputs["name"]))
    config = _config(inputs, uuid.uuid4().hex, str(image))
    host_key = prepare_seed(config, directory, inputs["authorized_key"])
    write_atomically(known_hosts(state(), config.name), f"{_address(config)} {host_key}\n")
    config.write(directory)
    start(config, directory)
    return {"instance_id": config.instance_id, "host_key": host_key, "started_from": config.image}


def update(inputs: Values, old: Values) -> Values:
    """Change the limits in place; start the machine if it is down; make it anew if its root is gone."""
    directory = state().machine(inputs["name"])
    if not (directory / FILE).exists() or (directory / "seed").exists():
        return create(inputs)
    made = MachineConfig.read(directory)
    config = _config(inputs, made.instance_id, made.image)
    # A file system takes what its disk has grown by when it is not mounted.
    needs_restart = ("data_disk_size", *(("memory", "cpu") if config.driver == "qemu" else ()))
    must_restart = any(inputs[value] != old.get(value) for value in needs_restart)
    config.write(directory)
    if must_restart:
        supervisor.stop(directory)
    if _stands_still(directory):
        snapshot.end_interrupted(directory)
    if supervisor.is_running(directory):
        supervisor.signal_supervisor(directory, signal.SIGHUP)
    start(config, directory)
    # From the disk, not from the state: an `up` that was killed may have made the machine anew without telling.
    return {"instance_id": config.instance_id, "host_key": _host_key(config), "started_from": config.image}


def delete(outputs: Values) -> None:
    """Removes the machine of these outputs, but not the one that has already taken its place and name."""
    if instance(outputs["name"]) in (None, outputs["instance_id"]):
        _remove(outputs["name"])


def is_intact(outputs: Values) -> bool:
    directory = state().machine(outputs["name"])
    running = supervisor.is_running(directory) and not _stands_still(directory)
    return running and instance(outputs["name"]) == outputs["instance_id"]


def _stands_still(directory: Path) -> bool:
    """Whether a snapshot was killed while the machine stood still for it, or is just being taken."""
    # One that is only starting, or ending, cannot be asked.
    with contextlib.suppress(CommandError, OSError):
        return supervisor.is_running(directory) and supervisor.driver_of(directory).stands_still()
    return False


def known_hosts(state: State, name: str) -> Path:
    return state.directory / "ssh" / "known_hosts" / name


def connection(state: State, key: Path, name: str) -> dict[str, Any]:
    """How Ansible enters a machine of that name; its host key is known before it first boots."""
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts(state, name)} -o StrictHostKeyChecking=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def _remove(name: str) -> None:
    directory = state().machine(name)
    supervisor.stop(directory)
    if (directory / FILE).exists():
        # A supervisor that was killed could not clean up after itself.
        supervisor.driver_of(directory).clean_up()
    images.release(directory, _scope(name))
    shutil.rmtree(directory, ignore_errors=True)
    known_hosts(state(), name).unlink(missing_ok=True)


def instance(name: str) -> str | None:
    """The identity of the machine of that name that is on the disk now."""
    try:
        return MachineConfig.read(state().machine(name)).instance_id
    except FileNotFoundError:
        return None


def _host_key(config: MachineConfig) -> str:
    return known_hosts(state(), config.name).read_text().partition(" ")[2].strip()


def _scope(name: str) -> str:
    """A name that is unique on the host."""
    return f"{state().bridge}-{name}"


def _config(inputs: Values, instance_id: str, image: str) -> MachineConfig:
    return MachineConfig(
        name=inputs["name"],
        instance_id=instance_id,
        scope=_scope(inputs["name"]),
        driver=inputs["driver"],
        image=image,
        bridge=inputs["bridge"],
        address=inputs["address"],
        gateway=inputs["gateway"],
        memory=int(inputs["memory"]),
        cpu=float(inputs["cpu"]),
        data_disk=inputs["data_disk"],
        kubernetes_node=bool(inputs["kubernetes_node"]),
    )


def start(config: MachineConfig, directory: Path) -> None:
    if not supervisor.is_running(directory):
        command = ["unshare", "--mount", "--propagation", "slave"]
        command += [sys.executable, "-m", "infra.machines.supervisor", str(directory)]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
        if host_has_systemd():
            _start_unit(config, directory, command, environment)
        else:
            _start_detached(directory, command, environment)
    _wait_until_it_answers(config, directory)


def _start_unit(config: MachineConfig, directory: Path, command: list[str], environment: dict[str, str]) -> None:
    """Without limits: those are the machine's, and what runs it is not the machine."""
    unit = f"{config.scope}.service"
    # The unit of a supervisor that has ended can take a moment longer to go.
    succeeds("systemctl", "stop", unit)
    log = f"append:{directory / 'supervisor.log'}"
    properties = {"KillMode": "mixed", "StandardOutput": log, "StandardError": log}
    arguments = [f"--property={key}={value}" for key, value in properties.items()]
    arguments += [f"--setenv={key}={value}" for key, value in environment.items()]
    run("systemd-run", "--quiet", "--collect", f"--unit={unit}", *arguments, *command)


def _start_detached(directory: Path, command: list[str], environment: dict[str, str]) -> None:
    with (directory / "supervisor.log").open("ab") as log:
        # Its own session, and nothing of ours held open: it must outlive `pulumi up` and never block its pipes.
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=environment,
            start_new_session=True,
        )


def _wait_until_it_answers(config: MachineConfig, directory: Path) -> None:
    started = time.monotonic()
    said = started
    within = BOOT_WITHIN * patience(config.driver)
    while time.monotonic() - started < within:
        if _ssh_answers(_address(config)):
            return
        if time.monotonic() - started > 2 and not supervisor.has_process(directory):
            break
        if time.monotonic() - said > 15:
            said = time.monotonic()
            print(f"{config.name}: booting ({config.driver}), {said - started:.0f} s", flush=True)
        time.sleep(0.2)
    waited = time.monotonic() - started
    raise RuntimeError(f"{config.name} does not answer on SSH after {waited:.0f} s.\n{_last_lines(directory)}")


def _ssh_answers(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=2) as connection:
        return connection.recv(4) == b"SSH-"
    return False


def _address(config: MachineConfig) -> str:
    return config.address.partition("/")[0]


def _last_lines(directory: Path) -> str:
    lines: list[str] = []
    for log in ("supervisor.log", "console.log"):
        file = directory / log
        if file.exists():
            lines += [f"{file}:", *file.read_text(errors="replace").splitlines()[-10:]]
    return "\n".join(lines)
