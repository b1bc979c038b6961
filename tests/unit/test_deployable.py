"""What is decided but could not run where it was placed is told by its line, with what there is instead."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("old", "new", "field", "told"),
    [
        ("image: web", "image: wbe", "web.image", "'wbe' is not a program under workloads/; did you mean web?"),
        ("package: tariffs", "package: tarifs", "tariffs.package", "'tarifs' is not a role of the collection; did you"),
        ("package: postgresql", "image: web", "ledger.image", "is placed on a VM, which needs `package` (it needs a"),
        ("    ports: [5432]", "    ports: []", "ledger", "postgresql needs a port to listen on, e.g. ports: [5432]"),
    ],
)
def test_what_could_not_run_is_told_by_its_line(tmp_path, old, new, field, told):
    text = (ROOT / "platform.yaml").read_text().replace("talks_to: [ledger, ", "talks_to: [")
    assert old in text
    file = tmp_path / "platform.yaml"
    file.write_text(text.replace(old, new, 1))
    line = 1 + text[: text.index(f"  {field}:\n" if "." not in field else old)].count("\n")
    done = subprocess.run([sys.executable, "-m", "infra.spec", str(file)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{file}:{line}: workloads.{field}: {told}")
    assert "Traceback" not in done.stderr and done.stdout == ""


def test_an_image_by_its_digest_needs_no_program_here(tmp_path):
    file = tmp_path / "platform.yaml"
    text = (ROOT / "platform.yaml").read_text()
    file.write_text(text.replace("image: web", f"image: docker.io/library/nginx@sha256:{'0' * 64}"))
    subprocess.run([sys.executable, "-m", "infra.spec", str(file)], cwd=ROOT, check=True)
