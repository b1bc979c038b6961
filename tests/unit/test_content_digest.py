"""What a run or an image is made of: the files whose change makes it run, or be built, anew."""

import re

import pytest

from infra.machines.state import PROJECT
from infra.targets.local import ansible

NAMED = re.compile(r"hybrid\.platform\.([a-z0-9_]+)")


def reached(playbook, *roles):
    files = ansible._reached(PROJECT / "playbooks" / playbook, roles)
    return {str(file.relative_to(PROJECT)) for file in files}


@pytest.mark.parametrize(
    ("playbook", "used", "unused"),
    [
        (
            "golden_image.yml",
            {"filter/image.py", "filter/waivers.py", "modules/image_seal.py", "module_utils/changed_files.py"},
            {"filter/patching.py"},
        ),
        ("patch.yml", {"filter/patching.py", "modules/apt_apply.py"}, {"filter/image.py", "filter/waivers.py"}),
        ("workloads.yml", {"filter/workloads.py"}, {"filter/image.py", "modules/image_seal.py"}),
    ],
)
def test_a_digest_has_the_plugins_that_the_roles_use_and_no_others(playbook, used, unused):
    found = reached(playbook)
    assert {f"plugins/{file}" for file in used} <= found
    assert not {f"plugins/{file}" for file in unused} & found


def test_an_image_is_not_made_of_roles_that_it_has_not_on_board():
    workloads = ("roles/kubernetes_node/", "roles/postgresql/", "roles/tariffs/")
    assert not {file for file in reached("golden_image.yml", "tariffs") if file.startswith(workloads[:2])}
    assert {file for file in reached("golden_image.yml", "tariffs") if file.startswith(workloads[2])}


def test_every_name_of_the_collection_leads_to_a_file():
    """A filter that has not its function's name would be missing from the digests."""
    texts = [file for tree in ("roles", "playbooks") for file in (PROJECT / tree).rglob("*.yml")]
    names = {name for file in texts for name in NAMED.findall(file.read_text())}
    assert len(names) > 30
    assert {name for name in names if not list(ansible._files_of(name))} == set()


def test_an_edited_filter_changes_the_digest_of_what_uses_it_only(monkeypatch, tmp_path):
    for tree in ("roles", "playbooks", "plugins"):
        (tmp_path / tree).symlink_to(PROJECT / tree)
    (tmp_path / "plugins").unlink()
    for file in (PROJECT / "plugins").rglob("*.py"):
        copy = tmp_path / file.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    monkeypatch.setattr(ansible, "PROJECT", tmp_path)
    ansible._filter_files.cache_clear()
    try:
        before = ansible.content_digest("golden_image.yml"), ansible.content_digest("patch.yml")
        with (tmp_path / "plugins/filter/image.py").open("a") as file:
            file.write("# edited\n")
        after = ansible.content_digest("golden_image.yml"), ansible.content_digest("patch.yml")
    finally:
        ansible._filter_files.cache_clear()
    assert before[0] != after[0]
    assert before[1] == after[1]
