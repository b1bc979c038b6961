"""Set-up after an interruption, with what the network would bring replaced by small scripts."""

import os
import shutil
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from infra.machines import processes
from infra.machines.state import PROJECT
from toolchain import build, pulumi

PYTHON3 = """#!/bin/sh
# A python3 of a given release that can make a virtual environment.
[ "$1" = --version ] && { cat release; exit; }
echo "$@" >>calls
rm -rf .venv
mkdir -p .venv/bin
for name in python uv; do printf '#!/bin/sh\\necho %s "$@" >>calls\\n' $name >.venv/bin/$name; done
chmod +x .venv/bin/*
"""


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def set_up(tmp_path):
    """Runs setup.sh in a checkout of its own; returns what it has called."""
    checkout = tmp_path / "checkout"
    (checkout / "toolchain").mkdir(parents=True)
    shutil.copy(PROJECT / "toolchain/setup.sh", checkout / "toolchain")
    (checkout / "requirements.txt").write_text("uv==1 \\\n  --hash=sha256:0\n")
    (checkout / "release").write_text("Python 3.11.2\n")
    layout = checkout / "infra/insight/layout"
    (layout / "node_modules").mkdir(parents=True)
    (layout / "package-lock.json").touch()
    lock = subprocess.run(
        ["sha256sum", "infra/insight/layout/package-lock.json"], cwd=checkout, capture_output=True, text=True
    )
    (layout / "node_modules/.lock").write_text(lock.stdout)
    script(tmp_path / "bin/python3", PYTHON3)

    def run():
        (checkout / "calls").unlink(missing_ok=True)
        environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        subprocess.run(["toolchain/setup.sh", "--without-root"], cwd=checkout, env=environment, check=True)
        return (checkout / "calls").read_text() if (checkout / "calls").exists() else ""

    return run


def test_a_virtual_environment_whose_making_was_killed_is_made_anew(set_up, tmp_path):
    # `python3 -m venv` links python first and brings pip last.
    script(tmp_path / "checkout/.venv/bin/python", "#!/bin/sh\nexit 1\n")
    assert "-m venv --clear .venv" in set_up()
    assert set_up() == "", "nothing is left to do"


def test_another_release_of_python_is_noticed(set_up, tmp_path):
    set_up()
    (tmp_path / "checkout/release").write_text("Python 3.13.5\n")
    assert "pip sync" in set_up()


FAKE_PULUMI = """#!/bin/sh
# `stack init` of the file backend: first the stack, then the salt in the project's directory.
stacks="${PULUMI_BACKEND_URL#file://}/stacks"
if [ -e "$stacks" ]; then echo "stack already exists" >&2; exit 255; fi
mkdir "$stacks"
sleep "${PAUSE:-0}"
[ -z "${KILLED:-}" ] || exit 137
echo 'encryptionsalt: v1' >"$6/Pulumi.local.yaml"
"""


@pytest.fixture
def first_command(tmp_path, monkeypatch):
    """What the first command on a new state is made into."""
    monkeypatch.setenv("HYBRID_PLATFORM_STATE", str(tmp_path / "state"))
    program = script(tmp_path / "pulumi", FAKE_PULUMI)

    def run(command="up", **environment):
        return pulumi._with_local_backend(str(program), [command], dict(os.environ) | environment)

    return run


def test_a_first_command_that_was_killed_is_continued_by_the_next(first_command, tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        first_command(KILLED="yes")
    _, option, config = first_command()
    assert option == "--config-file" and "encryptionsalt: v1" in Path(config).read_text()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_of_two_first_commands_at_once_the_second_takes_what_the_first_made(first_command):
    with ThreadPoolExecutor(2) as both:
        assert list(both.map(lambda _: first_command("stack", PAUSE="0.3"), range(2))) == [["stack"]] * 2


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Where programs are built to; the compiler only leaves its binary."""
    monkeypatch.setenv("HYBRID_PLATFORM_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "_go_build", lambda program, output, *_: output.touch())
    (tmp_path / "programs").mkdir()
    return tmp_path / "programs"


def test_what_a_killed_build_has_left_goes_with_the_next_one(compiled):
    (compiled / "pause-1.0.0-0.1.building").mkdir()
    (compiled / "pauses-1.0.0-0.1.building").mkdir()
    built = build.build("pause", lambda _: None)
    assert {path.name for path in compiled.iterdir() if path.is_dir()} == {built.name, "pauses-1.0.0-0.1.building"}


def test_a_compiler_of_a_killed_build_never_writes_into_the_next_one(compiled, monkeypatch):
    used = []
    monkeypatch.setattr(build, "_go_build", lambda program, output, *_: used.append(output.parent))
    for number in (1, 2):
        monkeypatch.setattr(build.os, "getpid", lambda number=number: number)
        build._build_all(build.programs()["pause"], compiled / "pause-1.0.0-0", lambda _: None)
        (compiled / "pause-1.0.0-0").rmdir()
    assert len(set(used)) == 2


def test_a_compiler_ends_with_its_builder(tmp_path):
    compiler = script(tmp_path / "go", "#!/bin/sh\ntouch started\nsleep 60\ntrue\n")
    program = (
        "import sys; from pathlib import Path; from toolchain import build;"
        f"build.find_go = lambda _: {str(compiler)!r};"
        f"build.HERE = Path({str(tmp_path)!r});"
        "build._go_build(build.Program('pause', '1', {}), Path(sys.argv[1]), '.', 'pause', print)"
    )
    (tmp_path / "pause").mkdir()
    output = tmp_path / "out/pause"
    output.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", program, str(output)], cwd=PROJECT, stdout=subprocess.DEVNULL
    ) as builder:
        while not (tmp_path / "pause/started").exists():
            time.sleep(0.05)
        builder.kill()
    ended = time.monotonic() + 20
    while processes.with_argument(str(compiler)) and time.monotonic() < ended:
        time.sleep(0.05)
    assert processes.with_argument(str(compiler)) == []
