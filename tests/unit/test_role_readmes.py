"""READMEs of roles and defaults of roles say what meta/argument_specs.yml says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
ALL = sorted(path.parent.name for path in ROLES.glob("*/meta"))


def test_readmes_are_in_step():
    done = subprocess.run(
        [sys.executable, ROLES / "generate_readmes.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}Run: python roles/generate_readmes.py"


@pytest.mark.parametrize("role", ALL)
def test_a_readme_has_the_markdown_of_what_ansible_marks(role):
    assert not re.search(r"\b[A-Z]\(", (ROLES / role / "README.md").read_text())


def test_the_readme_names_the_roles_that_are_written_for_ubuntu():
    written = {role for role in ALL if "noble" in (ROLES / role / "meta/main.yml").read_text()}
    named = re.search(r"For Ubuntu 24\.04,(.*?) are written", (ROLES.parent / "README.md").read_text(), re.DOTALL)
    assert named and set(re.findall(r"`(\w+)`", named[1])) == written


@pytest.mark.parametrize("role", ALL)
def test_every_default_is_documented_with_its_value(role):
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
    options = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    assert set(defaults) <= set(options)
    for name, value in defaults.items():
        if "default" in options[name]:
            assert options[name]["default"] == value, name
    undefined = {name for name, option in options.items() if not option.get("required")} - set(defaults)
    assert not undefined, "documented, but without a default"
