"""What `ansible-galaxy collection install` brings to somebody who has nothing else of this project."""

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.fixture(scope="module")
def tarball(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tarball")
    ansible("ansible-galaxy", "collection", "build", "--output-path", str(directory), str(PROJECT), home=directory)
    (built,) = directory.glob("hybrid-platform-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tarball, tmp_path_factory):
    """An empty collections path with nothing but ours."""
    path = tmp_path_factory.mktemp("collections")
    command = ["collection", "install", "--no-deps", "--offline", "--collections-path", str(path), str(tarball)]
    ansible("ansible-galaxy", *command, home=path)
    return path


def ansible(program, *arguments, home, **environment):
    alone = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "LC_ALL": "C.UTF-8", **environment}
    done = subprocess.run([BIN / program, *arguments], env=alone, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


def test_the_tarball_has_the_collection_and_nothing_of_the_platform_around_it(tarball):
    with tarfile.open(tarball) as archive:
        tops = {name.split("/")[0] for name in archive.getnames()}
        docs = {name for name in archive.getnames() if name.startswith("docs")}
    wanted = {
        "roles",
        "playbooks",
        "plugins",
        "meta",
        "changelogs",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "docs",
    }
    assert docs == {"docs", "docs/patching.md"}
    assert tops == wanted | {"MANIFEST.json", "FILES.json"}


def test_what_the_collection_tells_of_itself_leads_to_what_it_has(tarball):
    """The rest of the README is about the platform, which its text says."""
    with tarfile.open(tarball) as archive:
        names = set(archive.getnames())
    roles_alone = (PROJECT / "README.md").read_text().partition("## The roles alone\n")[2].partition("\n## ")[0]
    texts = {"README.md": roles_alone, "docs/patching.md": (PROJECT / "docs/patching.md").read_text()}
    links = {os.path.normpath(Path(file).parent / link) for file in texts for link in LINK.findall(texts[file])}
    assert links and links - names == set()


def test_every_role_is_there_with_its_options(installed):
    roles = {path.parents[1].name for path in (PROJECT / "roles").glob("*/meta/argument_specs.yml")}
    shown = ansible(
        *["ansible-doc", "--type", "role", "--list", "--json", "hybrid.platform"],
        home=installed,
        ANSIBLE_COLLECTIONS_PATH=str(installed),
    )
    assert set(json.loads(shown)) == {f"hybrid.platform.{role}" for role in roles}


def test_every_role_and_module_is_found_by_three_lines_of_somebody_elses_playbook(installed, tmp_path):
    roles = [path.parents[1].name for path in sorted((PROJECT / "roles").glob("*/meta/argument_specs.yml"))]
    play = {"hosts": "all", "roles": [f"hybrid.platform.{role}" for role in roles]}
    (tmp_path / "site.yml").write_text(yaml.safe_dump([play]))
    # The dependencies, which galaxy.yml names, are those of this environment.
    dependencies = next(BIN.parent.glob("lib/python*/site-packages"))
    tasks = ansible(
        *["ansible-playbook", "--list-tasks", "--inventory", "machine,", str(tmp_path / "site.yml")],
        home=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=f"{installed}:{dependencies}",
    )
    assert all(f"hybrid.platform.{role} : " in tasks for role in roles)


def test_every_playbook_is_found_by_its_full_name(installed, tmp_path):
    """Ansible takes no dash in such a name; the paths that had one stay as links."""
    names = [path.stem for path in sorted((PROJECT / "playbooks").glob("*.yml")) if not path.is_symlink()]
    plays = [{"import_playbook": f"hybrid.platform.{name}"} for name in names]
    (tmp_path / "site.yml").write_text(yaml.safe_dump(plays))
    dependencies = next(BIN.parent.glob("lib/python*/site-packages"))
    shown = ansible(
        *["ansible-playbook", "--list-hosts", "--inventory", "machine,", str(tmp_path / "site.yml")],
        home=tmp_path,
        ANSIBLE_COLLECTIONS_PATH=f"{installed}:{dependencies}",
    )
    assert shown.count("play #") >= len(names) > 5


def test_a_module_that_shares_code_with_another_runs_from_where_it_was_installed(installed, tmp_path):
    target = tmp_path / "written"
    arguments = {"path": str(target), "content": "here", "owner": "{{ lookup('pipe', 'id -un') }}"}
    arguments["group"] = "{{ lookup('pipe', 'id -gn') }}"
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"hybrid.platform.files": {"files": [arguments]}}]}
    (tmp_path / "site.yml").write_text(yaml.safe_dump([play]))
    ansible("ansible-playbook", str(tmp_path / "site.yml"), home=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(installed))
    assert target.read_text() == "here"


def test_the_versions_that_are_promised_are_those_that_are_tested():
    """2.19 for Python 3.11 and 2.21 for newer; molecule/controller runs the latter."""
    promised = yaml.safe_load((PROJECT / "meta/runtime.yml").read_text())["requires_ansible"]
    locked = (PROJECT / "requirements.txt").read_text()
    assert promised == ">=2.19.0"
    assert "ansible-core==2.19." in locked and "ansible-core==2.21." in locked
