"""A machine as a system container: the image's own systemd and packages on the host's kernel."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from infra.machines import node_privileges
from infra.machines.cgroup import ControlGroup
from infra.machines.config import MachineConfig
from infra.machines.disk import fill
from infra.machines.host import run
from infra.machines.idmap import RANGE, bind_shifted, first_user
from infra.machines.scope import ScopeUnit
from infra.machines.seed import take_seed

# Beyond what nspawn withholds by default: a machine of the VM tier makes no device nodes and traces nothing.
_WITHHELD = ("CAP_MKNOD", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_NICE", "CAP_SYS_TTY_CONFIG", "CAP_AUDIT_CONTROL")

# Images cannot be unpacked as overlays on an overlay, nor pods' users be mapped there: these lie on the host's disk.
_BESIDE_THE_OVERLAY = ("/var/lib/containerd", "/var/lib/kubelet")


def host_has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir()


class NspawnDriver:
    """Starts and stops one machine; mounts happen in the supervisor's own mount namespace."""

    def __init__(self, config: MachineConfig, directory: Path) -> None:
        self.config = config
        self._root = directory / "root"
        self._data = directory / "data"
        self._console = directory / "console.log"
        # A node's pods have users of their own below it, for which one machine's range is too small.
        self._first_user = 0 if config.kubernetes_node else first_user(config.scope)
        self._scope = ScopeUnit(config.scope) if host_has_systemd() else None
        self._cgroup = None if self._scope else ControlGroup(config.scope)

    def prepare(self) -> None:
        # What a supervisor that was killed has left running may still have the disks mounted.
        self.clean_up()
        layers = {name: self._root / name for name in ("image", "upper", "work", "merged")}
        for layer in layers.values():
            layer.mkdir(parents=True, exist_ok=True)
        os.chown(layers["upper"], self._first_user, self._first_user)
        if self._first_user:
            bind_shifted(Path(self.config.image) / "root", layers["image"], self._first_user)
        else:
            run("mount", "--bind", f"{self.config.image}/root", str(layers["image"]))
        options = f"lowerdir={layers['image']},upperdir={layers['upper']},workdir={layers['work']}"
        run("mount", "-t", "overlay", "overlay", "-o", options, str(layers["merged"]))
        take_seed(self._root.parent, layers["merged"], owner=self._first_user)
        for directory in self._beside_the_overlay().values():
            directory.mkdir(parents=True, exist_ok=True)
        if self.config.data_disk:
            self._data.mkdir(exist_ok=True)
            fill(Path(self.config.data_disk))
            run("mount", "-o", "loop,nodev,nosuid", self.config.data_disk, str(self._data))
        if self._cgroup:
            self._cgroup.create()
            self._cgroup.limit(self.config.memory, self.config.cpu)
            self._cgroup.deny_block_devices()

    def start(self) -> subprocess.Popen[bytes]:
        with self._console.open("ab") as console:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=os.environ | {"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                preexec_fn=self._enter_cgroup,
            )

    def wants_restart(self, process: subprocess.Popen[bytes]) -> bool:
        """After a reboot inside, or when it was killed; not after a power-off inside."""
        return process.returncode != 0

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)

    def clean_up(self) -> None:
        if self._cgroup:
            self._cgroup.remove()

    def apply_limits(self) -> None:
        self._group.limit(self.config.memory, self.config.cpu)

    @property
    def _group(self) -> ScopeUnit | ControlGroup:
        group = self._scope or self._cgroup
        assert group
        return group

    @property
    def writable(self) -> Path:
        """What differs from the image."""
        return self._root / "upper"

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        try:
            self._group.freeze(True)
            yield
        finally:
            self.let_run()

    def let_run(self) -> None:
        self._group.freeze(False)

    def stands_still(self) -> bool:
        return self._group.is_frozen()

    def _enter_cgroup(self) -> None:
        if self._cgroup:
            self._cgroup.add(os.getpid())

    def _command(self) -> list[str]:
        command = ["systemd-nspawn", "--quiet", "--boot", f"--directory={self._root / 'merged'}"]
        command += [f"--machine={self.config.scope}", f"--network-bridge={self.config.bridge}"]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no", "--settings=no"]
        # read-only: with an interactive console nobody drains, PID 1 can block on it.
        command += ["--console=read-only"]
        if self._scope:
            command += [f"--property={limit}" for limit in self._scope.limits(self.config.memory, self.config.cpu)]
        else:
            command += ["--register=no", "--keep-unit"]
        if self.config.data_disk:
            command.append(f"--bind={self._data}:/srv/data" + (":idmap" if self._first_user else ""))
        if self._first_user:
            command += [f"--private-users={self._first_user}:{RANGE}", "--private-users-ownership=off"]
        command += [f"--bind={there}:{here}" for here, there in self._beside_the_overlay().items()]
        granted = [p.nspawn_argument for p in node_privileges.PRIVILEGES] if self.config.kubernetes_node else []
        withheld = [capability for capability in _WITHHELD if f"--capability={capability}" not in granted]
        command += [*granted, f"--drop-capability={','.join(withheld)}"]
        return [*command, "systemd.show_status=no"]

    def _beside_the_overlay(self) -> dict[str, Path]:
        """Directories that live as long as the root but not in its overlay, by their path in the machine."""
        if not self.config.kubernetes_node:
            return {}
        return {path: self._root / "beside" / path.rpartition("/")[2] for path in _BESIDE_THE_OVERLAY}
