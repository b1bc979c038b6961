"""A machine as a real VM with a kernel of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from infra.machines.accelerator import accelerator
from infra.machines.config import MachineConfig
from infra.machines.disk import disk_of, fill
from infra.machines.host import run, succeeds
from infra.machines.patience import SYSTEMD_WAITS, patience
from infra.machines.seed import take_seed
from infra.machines.state import State


class QemuDriver:
    """Direct kernel boot, but of the kernel and initrd that are in the machine's own disk now, so that
    patching a kernel means something. QEMU ends at every reset; the supervisor starts it again."""

    def __init__(self, config: MachineConfig, directory: Path) -> None:
        self.config = config
        self._directory = directory
        self._disk = directory / "root.ext4"
        # The path of a socket has at most 107 bytes, which a checkout's may need for itself.
        sockets = State(directory.parent.parent).runtime
        self._monitor = sockets / f"{config.name}.qmp"
        self._control = sockets / f"{config.name}.qmp-control"
        # The name of an interface has at most 15.
        self._tap = "t" + hashlib.sha256(config.scope.encode()).hexdigest()[:12]
        self._watcher: threading.Thread
        self._reset = False

    def prepare(self) -> None:
        if not self._disk.exists():
            unfinished = self._disk.with_suffix(".building")
            run("cp", "--sparse=always", "--reflink=auto", str(disk_of(Path(self.config.image))), str(unfinished))
            unfinished.rename(self._disk)
        if (self._directory / "seed").exists():
            mounted = self._directory / "root"
            mounted.mkdir(exist_ok=True)
            run("mount", "-o", "loop", str(self._disk), str(mounted))
            take_seed(self._directory, mounted)
            run("umount", str(mounted))
        if self.config.data_disk:
            fill(Path(self.config.data_disk))
        self.clean_up()
        run("ip", "tuntap", "add", self._tap, "mode", "tap")
        run("ip", "link", "set", self._tap, "master", self.config.bridge, "up")

    def start(self) -> subprocess.Popen[bytes]:
        self._reset = False
        kernel, initrd = self._boot_files()
        for socket_file in (self._monitor, self._control):
            socket_file.parent.mkdir(exist_ok=True, mode=0o700)
            socket_file.unlink(missing_ok=True)
        with (self._directory / "console.log").open("ab") as console:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command(kernel, initrd)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return process

    def wants_restart(self, process: subprocess.Popen[bytes]) -> bool:
        # Its last event may still be on its way.
        self._watcher.join(timeout=5)
        return self._reset or process.returncode != 0

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        try:
            self._command_monitor("system_powerdown")
        except OSError:
            process.terminate()

    def clean_up(self) -> None:
        if succeeds("ip", "link", "show", self._tap):
            run("ip", "link", "delete", self._tap)

    def apply_limits(self) -> None:
        """A VM's memory is what it booted with; the resource restarts it instead."""

    @property
    def writable(self) -> Path:
        return self._disk

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        try:
            self._command_monitor("stop")
            yield
        finally:
            self.let_run()

    def let_run(self) -> None:
        self._command_monitor("cont")

    def stands_still(self) -> bool:
        return '"paused"' in self._command_monitor("query-status")

    def _boot_files(self) -> tuple[Path, Path]:
        """The newest kernel in the machine's disk, with its initrd, copied out."""
        # Replays the journal first, or a kernel that was just installed could be missing.
        subprocess.run(["e2fsck", "-p", str(self._disk)], stdin=subprocess.DEVNULL, capture_output=True)
        listing = run("debugfs", "-R", "ls -p /boot", str(self._disk))
        names = [line.split("/")[5] for line in listing.splitlines() if line.count("/") > 5]
        versions = [name.removeprefix("vmlinuz-") for name in names if name.startswith("vmlinuz-")]
        if not versions:
            raise RuntimeError(f"{self._disk} has no kernel in /boot")
        newest = run("sort", "--version-sort", stdin="\n".join(versions)).split()[-1]
        files = self._directory / "vmlinuz", self._directory / "initrd"
        for file, name in zip(files, (f"vmlinuz-{newest}", f"initrd.img-{newest}"), strict=True):
            run("debugfs", "-R", f"dump /boot/{name} {file}", str(self._disk))
        return files

    def _command(self, kernel: Path, initrd: Path) -> list[str]:
        drives = [self._disk] + ([Path(self.config.data_disk)] if self.config.data_disk else [])
        mac = "52:54:00:" + ":".join(f"{int(part):02x}" for part in self.config.address.split("/")[0].split(".")[1:])
        command = ["qemu-system-x86_64", "-name", self.config.name, "-machine", "q35", *accelerator().arguments]
        command += ["-m", str(self.config.memory // 2**20), "-smp", str(max(1, round(self.config.cpu)))]
        command += ["-kernel", str(kernel), "-initrd", str(initrd)]
        command += ["-append", " ".join(self._kernel_arguments())]
        for drive in drives:
            command += ["-drive", f"file={drive},format=raw,if=virtio,discard=unmap"]
        command += ["-netdev", f"tap,id=n0,ifname={self._tap},script=no,downscript=no"]
        command += [
            "-device",
            f"virtio-net-pci,netdev=n0,mac={mac}",
            "-object",
            "rng-random,id=r0,filename=/dev/urandom",
        ]
        command += ["-device", "virtio-rng-pci,rng=r0", "-display", "none", "-serial", "stdio", "-no-reboot"]
        # Two monitors: a monitor serves one client at a time, and the watcher keeps the first.
        for monitor in (self._monitor, self._control):
            command += ["-qmp", f"unix:{monitor},server=on,wait=off"]
        return command

    def _kernel_arguments(self) -> list[str]:
        arguments = ["root=/dev/vda", "rw", "console=ttyS0", "quiet", "panic=1"]
        if (factor := patience("qemu")) > 1:
            # systemd takes a disk that is not there yet for lost, and boots no further.
            limits = ("device_timeout_sec", "timeout_start_sec")
            arguments += [f"systemd.default_{limit}={SYSTEMD_WAITS * factor}" for limit in limits]
        return arguments

    def _watch(self) -> None:
        """QEMU's exit code does not tell a reset from a power-off, its last event does."""
        for _ in range(100):
            with contextlib.suppress(OSError), self._connect() as stream:
                for line in stream:
                    event = json.loads(line)
                    if event.get("event") == "SHUTDOWN":
                        self._reset = event["data"]["reason"] == "guest-reset"
                return
            threading.Event().wait(0.1)

    def _command_monitor(self, command: str) -> str:
        """What the machine's monitor answers."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            client.connect(str(self._control))
            client.recv(4096)
            for line in ("qmp_capabilities", command):
                client.sendall(json.dumps({"execute": line}).encode() + b"\n")
                answer = client.recv(4096)
        return answer.decode()

    @contextlib.contextmanager
    def _connect(self) -> Iterator[IO[str]]:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self._monitor))
            stream = client.makefile("rw")
            stream.readline()
            stream.write(json.dumps({"execute": "qmp_capabilities"}) + "\n")
            stream.flush()
            yield stream
