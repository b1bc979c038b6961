"""What makes one machine of an image itself: name, address, host key, and who may enter.

Written into the machine's root before its first boot, in the same way for every driver.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from infra.machines.config import MachineConfig
from infra.machines.host import run
from infra.machines.patience import SYSTEMD_WAITS, patience
from infra.machines.ssh import make_key

_HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


def prepare_seed(config: MachineConfig, directory: Path, authorized_key: str) -> str:
    """Put the files aside for the supervisor's first start; returns the public host key."""
    seed = directory / "seed"
    shutil.rmtree(seed, ignore_errors=True)
    files = {
        "etc/hostname": f"{config.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {config.name}\n::1 localhost\n",
        "etc/resolv.conf": _resolvers(),
        "etc/systemd/network/10-machine.network": _network(config),
        "root/.ssh/authorized_keys": f"{authorized_key}\n",
    }
    if config.data_disk and config.driver == "qemu":
        image = Path(config.image) / "root/etc/fstab"
        options = f"nodev,nosuid,x-systemd.device-timeout={SYSTEMD_WAITS * patience(config.driver)}"
        files["etc/fstab"] = image.read_text() + f"LABEL=data /srv/data ext4 {options} 0 2\n"
    for name, text in files.items():
        file = seed / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (seed / "root/.ssh/authorized_keys").chmod(0o600)
    (seed / "root/.ssh").chmod(0o700)
    (seed / "root").chmod(0o700)
    (seed / "etc/ssh").mkdir()
    make_key(seed / _HOST_KEY, comment=config.name)
    return (seed / f"{_HOST_KEY}.pub").read_text().strip()


def take_seed(directory: Path, root: Path, *, owner: int = 0) -> None:
    """Move the files into the root, once; `owner` is the user who is root in the machine."""
    seed = directory / "seed"
    if seed.exists():
        # Some of an image's own are links (resolv.conf), which would be written through.
        for file in (p for p in seed.rglob("*") if p.is_file()):
            (root / file.relative_to(seed)).unlink(missing_ok=True)
        (seed / "srv/data").mkdir(parents=True, exist_ok=True)
        run("chown", "--recursive", f"{owner}:{owner}", str(seed))
        run("cp", "--archive", f"{seed}/.", str(root))
        shutil.rmtree(seed)


def _network(config: MachineConfig) -> str:
    return f"""[Match]
Name=host0 en*

[Network]
Address={config.address}
Gateway={config.gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


def _resolvers() -> str:
    """The host's own; a stub on its loopback would mean the machine itself, so what is behind it."""
    for file in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        text = Path(file).read_text() if Path(file).exists() else ""
        if "nameserver" in text and "nameserver 127." not in text:
            return text
    return ""
