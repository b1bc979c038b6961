"""What QEMU can accelerate with here, found by booting a probe guest.

/dev/kvm alone proves nothing: on some hosts it exists and stock kernels crash on it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from infra.machines.host import CommandError, run
from infra.machines.state import write_atomically
from toolchain.build import cache_directory

KVM = Path("/dev/kvm")
PROBE_SECONDS = 20
_ALIVE = b"Run /init as init process"


@dataclass(frozen=True)
class Accelerator:
    name: str

    @property
    def arguments(self) -> list[str]:
        return (
            ["-accel", "kvm", "-cpu", "host"] if self.name == "kvm" else ["-accel", "tcg,thread=multi", "-cpu", "max"]
        )

    @property
    def is_hardware(self) -> bool:
        return self.name == "kvm"


def accelerator() -> Accelerator:
    """Probed once for each boot of the host, then remembered."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    remembered = cache_directory() / "accelerator.json"
    if remembered.exists() and (known := json.loads(remembered.read_text()))["boot"] == boot:
        return Accelerator(known["name"])
    try:
        name = "kvm" if KVM.exists() and _probe_guest_boots() else "tcg"
    except (CommandError, OSError, StopIteration):
        # That there was no kernel or no QEMU to ask with says nothing of KVM: the next one asks again.
        return Accelerator("tcg")
    write_atomically(remembered, json.dumps({"boot": boot, "name": name}))
    return Accelerator(name)


def _probe_guest_boots() -> bool:
    """Whether a stock kernel reaches its first process under KVM.

    Raises:
        CommandError, OSError, StopIteration: if it cannot be tried.
    """
    kernel = _stock_kernel()
    with tempfile.TemporaryDirectory() as directory:
        initrd = Path(directory) / "initrd"
        # An archive with nothing but an empty /init: getting as far as running it is the proof.
        (Path(directory) / "init").touch(mode=0o755)
        archive = subprocess.run(["cpio", "-o", "-H", "newc"], input=b"init\n", cwd=directory, capture_output=True)
        initrd.write_bytes(archive.stdout)
        command = ["qemu-system-x86_64", "-machine", "q35", *Accelerator("kvm").arguments, "-m", "256"]
        command += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", "console=ttyS0 panic=-1"]
        command += ["-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_SECONDS)
        except subprocess.TimeoutExpired as expired:
            return _ALIVE in (expired.stdout or b"")
        return _ALIVE in done.stdout


def _stock_kernel() -> Path:
    """The host's own kernel file, else Debian's cloud kernel from the host's apt."""
    if (own := _own_kernel()).exists():
        return own
    with tempfile.TemporaryDirectory() as directory:
        package = _kernel_package(run("apt-cache", "depends", "--important", "linux-image-cloud-amd64"))
        kept = cache_directory() / f"{package}.vmlinuz"
        if not kept.exists():
            run("env", f"--chdir={directory}", "apt-get", "download", package)
            run("dpkg-deb", "-x", str(next(Path(directory).glob("*.deb"))), f"{directory}/x")
            kept.parent.mkdir(parents=True, exist_ok=True)
            unfinished = kept.with_name(f".{kept.name}.{os.getpid()}")
            run("cp", str(next(Path(directory, "x/boot").glob("vmlinuz-*"))), str(unfinished))
            unfinished.rename(kept)
        return kept


def _own_kernel() -> Path:
    return Path(f"/boot/vmlinuz-{os.uname().release}")


def _kernel_package(depends: str) -> str:
    """What the metapackage of that answer of apt-cache depends on: it has no kernel itself.

    Raises:
        StopIteration: if it is none of Debian's.
    """
    rows = (line.strip().partition("Depends: ") for line in depends.splitlines())
    return next(package for _, is_dependency, package in rows if is_dependency and package.startswith("linux-image-"))
