"""`make test-aws`: the real engine and the official plugin against emulators on loopback.

Up, up again without a change, refresh without drift, destroy that leaves nothing. What an emulator cannot do is left
out by name (kinds.yaml). Says 'skipped: plugin not installed' where there is no plugin.

    .venv/bin/python tests/aws/emulator/run.py
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from engine import Engine  # noqa: E402

STACK, REGION, ACCOUNT = "aws-emulated", "eu-central-1", "123456789012"
TO_MINISTACK = ("backup", "codebuild", "eks", "route53")
DEBIAN_ACCOUNT = "136693071363"  # whose images the program looks up
EMULATORS = CHECKOUT / "build" / "emulators"
SKIPPED = 0  # a missing plugin is no failure: it cannot be had from a package registry


def main() -> int:
    pulumi = shutil.which("pulumi") or str(CHECKOUT / ".tools" / "bin" / "pulumi")
    if not Path(pulumi).exists() or not has_plugin(pulumi):
        print("skipped: plugin not installed (pulumi plugin install resource aws)")
        return SKIPPED
    install_emulators()
    with tempfile.TemporaryDirectory() as scratch, emulators(Path(scratch)) as (moto, ministack):
        return deploy(pulumi, Path(scratch), moto, ministack)


def has_plugin(pulumi: str) -> bool:
    """Whether the aws plugin is on PATH, or the CLI has installed it."""
    if shutil.which("pulumi-resource-aws"):
        return True
    listed = subprocess.run([pulumi, "plugin", "ls", "--json"], capture_output=True, text=True)
    return listed.returncode == 0 and any(p["name"] == "aws" for p in json.loads(listed.stdout or "[]"))


def install_emulators() -> None:
    """Into an environment of their own, anew when their lock file has changed."""
    locked = CHECKOUT / "requirements-emulators.txt"
    stamp = EMULATORS / "requirements.txt"
    if stamp.exists() and stamp.read_bytes() == locked.read_bytes():
        return
    print("+ installing the emulators", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", EMULATORS], check=True)
    pip = [EMULATORS / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--requirement", locked], check=True)
    stamp.write_bytes(locked.read_bytes())


@contextlib.contextmanager
def emulators(scratch: Path) -> Iterator[tuple[str, str]]:
    """moto and MiniStack on free ports of loopback, ended by their own process ids."""
    images = scratch / "images.json"
    images.write_text(json.dumps(public_images()))
    with contextlib.ExitStack() as stack:
        urls = []
        for program in ("moto_server", "ministack"):
            port = free_port()
            # MiniStack listens on every interface unless it is told.
            own = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "MINISTACK_ACCOUNT_ID": ACCOUNT}
            own["MOTO_AMIS_PATH"] = str(images)
            arguments = ["-H", "127.0.0.1", "-p", str(port)] if program == "moto_server" else []
            log = stack.enter_context((scratch / f"{program}.log").open("w"))
            process = subprocess.Popen(
                [EMULATORS / "bin" / program, *arguments],
                env=os.environ | own | {"MINISTACK_REGION": REGION},
                stdout=log,
                stderr=log,
            )
            stack.callback(end, process)
            urls.append(f"http://127.0.0.1:{port}")
            wait_for(urls[-1], process)
        yield urls[0], urls[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise SystemExit(f"{url} did not come up: exit code {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=1)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


def configuration(moto: str, ministack: str) -> dict[str, object]:
    """The development stack, on emulators."""
    config = yaml.safe_load((CHECKOUT / "Pulumi.aws-dev.yaml").read_text())["config"]
    ours = config["hybrid-platform:aws"]
    ours["account"] = ACCOUNT
    ours["emulator"] = {"url": moto, "services": dict.fromkeys(TO_MINISTACK, ministack)}
    return dict(config)


def public_images() -> list[dict[str, object]]:
    """The official images that the stack pins, as moto reads them; it knows none of them by itself."""
    pins = configuration("", "")["hybrid-platform:aws"]["vm_tier"]["images"].values()
    return [
        {
            "ami_id": f"ami-{number:017x}",
            "name": pin["debian"],
            "description": "Debian",
            "owner_id": DEBIAN_ACCOUNT,
            "public": True,
            "virtualization_type": "hvm",
            "architecture": "x86_64",
            "state": "available",
            "platform": None,
            "image_type": "machine",
            "hypervisor": "xen",
            "root_device_name": "/dev/xvda",
            "root_device_type": "ebs",
            "sriov": "simple",
        }
        for number, pin in enumerate(pins, start=1)
    ]


def kinds(*lists: str) -> list[str]:
    """The kinds of resources that are on these lists of kinds.yaml."""
    known = yaml.safe_load((HERE / "kinds.yaml").read_text())
    return [kind for one in lists for kind in known[one]]


def excluded(*lists: str) -> list[str]:
    """Options that leave out the kinds on these lists, and what depends on them."""
    patterns = [
        f"--exclude=**aws:{kind.replace('/*', '/**')}{'' if kind.endswith('*') else ':*'}::**" for kind in kinds(*lists)
    ]
    return ["--exclude-dependents", *patterns]


def deploy(pulumi: str, scratch: Path, moto: str, ministack: str) -> int:
    dummy = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated", "AWS_REGION": REGION}
    engine = Engine(pulumi, STACK, scratch, configuration(moto, ministack), **dummy)

    def run(*arguments: str) -> bool:
        print(f"+ pulumi {' '.join(a for a in arguments if not a.startswith('--exclude'))}", flush=True)
        return engine.run(*arguments, "--yes", "--skip-preview").returncode == 0

    steps = [
        ("up", "--parallel=4", *excluded("left_out")),
        ("up", "--expect-no-changes", *excluded("left_out", "drifts")),
        ("refresh", "--expect-no-changes", *excluded("drifts")),
    ]
    failed = next((step[0] for step in steps if not run(*step)), None)
    # Whatever went wrong before: what was made is taken away, or the failure hides the next one.
    if not run("destroy", "--continue-on-error"):
        failed = failed or "destroy"
    remaining = engine.resources()
    if failed or remaining:
        print(f"failed: {failed or f'destroy left {len(remaining)} resources'}")
        return 1
    print("passed: up, up without changes, refresh without drift, destroy that left nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
