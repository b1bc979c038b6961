"""A root in which nothing runs can be patched where it lies."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

from infra.machines.state import PROJECT
from infra.targets.local.image_root import connection
from tests.image.conftest import root_host

PACKAGE = "practice-conf"
# Whoever asks more than whether an init system is there gets no answer, and is found.
NOBODY = '#!/bin/sh\n[ "$1" = is-system-running ] || echo "$0 $*" >>/asked\nexit 1\n'


def repositories() -> ModuleType:
    """What makes packages to practise on, for the Molecule scenario of the role."""
    file = PROJECT / "molecule/patching/files/make_repository.py"
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_nothing_runs_in_is_patched_without_asking_for_an_init_system(copy_of, tmp_path):
    root: Path = copy_of("patched")
    made = repositories()
    practice = root / "srv/practice"
    made.make_stages(practice, [package for package in made.PACKAGES if package.name == PACKAGE])
    (root / "etc/apt/sources.list.d/debian.sources").unlink(missing_ok=True)
    (root / "etc/apt/sources.list").write_text("deb [trusted=yes] file:/srv/practice/stage-2/main ./\n")
    root_host(root).check_output(f"dpkg --install /srv/practice/pool/{PACKAGE}_1.0_all.deb")
    for program in ("systemctl", "systemd-run"):
        (root / "usr/bin" / program).unlink()
        (root / "usr/bin" / program).write_text(NOBODY)
        (root / "usr/bin" / program).chmod(0o755)

    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": {"image": connection(root)}}}))
    given = {"patching_hosts": "image", "patching_run": "r", "patching_evidence_directory": str(tmp_path / "evidence")}
    command = [str(Path(sys.executable).parent / "ansible-playbook"), f"--inventory={tmp_path}/inventory.json"]
    command += [f"--extra-vars={json.dumps(given)}", "playbooks/patch.yml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    evidence = json.loads((tmp_path / "evidence/r/image.json").read_text())
    assert evidence["changes"] == [{"name": PACKAGE, "from": "1.0", "to": "1.1"}]
    assert not (root / "asked").exists(), (root / "asked").read_text()
