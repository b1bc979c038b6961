"""Whoever gives a role something of a wrong type is told so before anything is done."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
ENTRIES = {
    f"hybrid.platform.{spec.parents[1].name}": yaml.safe_load(spec.read_text())["argument_specs"]
    for spec in (PROJECT / "roles").glob("*/meta/argument_specs.yml")
}
PLAYS = [file for tree in ("playbooks", "molecule", "infra") for file in sorted((PROJECT / tree).rglob("*.yml"))]


def used_roles(node):
    """What a playbook says of each role that it imports or includes."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("ansible.builtin.import_role", "ansible.builtin.include_role"):
                yield value
            yield from used_roles(value)
    elif isinstance(node, list):
        for value in node:
            yield from used_roles(value)


def test_entry_points_are_named_as_their_specification_is():
    """With the end of a file's name Ansible finds none, and checks nothing."""
    found = {
        (str(file.relative_to(PROJECT)), role["name"], role["tasks_from"])
        for file in PLAYS
        for role in used_roles(yaml.safe_load(file.read_text()))
        if "tasks_from" in role
    }
    assert len(found) > 5
    unchecked = {
        (file, name, tasks)
        for file, name, tasks in found
        # A name that is only known when it runs may be any role's.
        if tasks.endswith(".yml") and ("{{" in name or Path(tasks).stem in ENTRIES[name])
    }
    assert unchecked == set()


def make_image(variables, tmp_path):
    """Run the playbook for a host that nobody reaches."""
    given = {"golden_image_name": "base", "golden_image_release": "debian-13", **variables}
    nobody = {"ansible_ssh_executable": "/bin/false"}
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"image": nobody}}}))
    command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", tmp_path / "inventory.yml"]
    command += ["--extra-vars", json.dumps(given), "playbooks/golden_image.yml"]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"golden_image_lifetime_days": "a month"}, "golden_image_lifetime_days"),
        ({"golden_image_release": "ubuntu-24.04"}, "golden_image_release"),
    ],
)
def test_the_golden_image_playbook_refuses_a_wrong_value_before_it_looks_at_the_root(variables, told, tmp_path):
    done = make_image(variables, tmp_path)
    assert done.returncode == 2 and "argument_errors" in done.stdout, done.stdout + done.stderr
    assert told in done.stdout.partition("argument_errors")[2].partition("argument_spec_data")[0]


def test_the_golden_image_playbook_refuses_a_name_that_no_file_can_have(tmp_path):
    done = make_image({"golden_image_name": "team/base"}, tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert '"msg": "golden_image_name is team/base; it names files, so it has no slash."' in done.stdout


# Modules read them as Ansible itself reads a list of the command line.
READ_BY_MODULES = {"patching_packages", "patching_exclude", "patching_never_restart", "patching_may_end"}
# Ansible's own check refuses other words.
CHOICES = {"cluster_policies_actions", "cluster_policies_undecided_actions"}
# What says no, where it is not the entry point `main`.
REFUSING = {"golden_image": "base", "patching": "gate"}
# By role, with what their elements are.
LISTS = {
    role: {
        name: option["elements"]
        for name, option in entries["main"]["options"].items()
        if option["type"] == "list" and name not in READ_BY_MODULES
    }
    for role, entries in sorted((name.rpartition(".")[2], entries) for name, entries in ENTRIES.items())
}


@pytest.mark.parametrize("role", [role for role, lists in LISTS.items() if lists])
def test_every_list_that_a_word_would_pass_for_is_looked_at_first(role):
    variables = yaml.safe_load((PROJECT / f"roles/{role}/vars/main.yml").read_text())
    assert sorted(variables[f"__{role}_lists"]) == sorted(LISTS[role])
    files = {"golden_image": ["base"], "hardening": ["preflight"], "patching": ["preflight", "gate"]}
    for file in files.get(role, ["main"]):
        tasks = yaml.safe_load((PROJECT / f"roles/{role}/tasks/{file}.yml").read_text())
        first = next(task for task in tasks if "true or false" not in task["name"])
        assert first.get("hybrid.platform.assert_lists") == {"variables": f"{{{{ __{role}_lists }}}}"}


def test_a_word_where_a_list_is_meant_is_refused(tmp_path):
    """Of maps Ansible's own check says so."""
    by_role = {
        role: {name: one for name, one in lists.items() if one != "dict" and name not in CHOICES}
        for role, lists in LISTS.items()
    }
    words = {name: elements for lists in by_role.values() for name, elements in lists.items()}
    given = {"golden_image_name": "base", "golden_image_release": "debian-13", "cluster_policies_decisions": {}}
    given |= {f"cluster_{part}_kubeconfig": "/nowhere" for part in ("policies", "services", "workloads")}
    given |= {"cluster_workloads": [], "cluster_workloads_platform": "estate"}
    given |= {"kubernetes_node_control_plane": "localhost"}
    given |= {name: "53" if elements == "int" else "secret" for name, elements in words.items()}
    entries = {role: REFUSING.get(role, "main") for role, lists in by_role.items() if lists}
    uses = [{"name": f"hybrid.platform.{role}", "tasks_from": entry} for role, entry in entries.items()]
    tried = [{"block": [{"ansible.builtin.include_role": use}], "rescue": [{"meta": "noop"}]} for use in uses]
    here = {"ansible_python_interpreter": sys.executable}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": here, "tasks": tried}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = [Path(sys.executable).parent / "ansible-playbook", "--check", "--extra-vars", json.dumps(given)]
    done = subprocess.run([*command, tmp_path / "play.yml"], cwd=PROJECT, capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert [name for name in words if f"""-e '{{"{name}": [...]}}'""" not in told] == [], told
    assert "secret" not in told


@pytest.mark.parametrize("role", sorted(role for role, entries in ENTRIES.items() if "install" in entries))
def test_what_goes_into_an_image_needs_no_other_machine(role, tmp_path):
    play = {"hosts": "image", "gather_facts": False, "tasks": []}
    play["tasks"] += [{"ansible.builtin.include_role": {"name": role, "tasks_from": "install"}}]
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    (tmp_path / "inventory.yml").write_text(
        json.dumps({"all": {"hosts": {"image": {"ansible_ssh_executable": "/bin/false"}}}})
    )
    command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", tmp_path / "inventory.yml"]
    done = subprocess.run([*command, tmp_path / "play.yml"], cwd=PROJECT, capture_output=True, text=True)
    assert re.search(r"Validating arguments .*\nok: \[image\]", done.stdout), done.stdout + done.stderr


@pytest.mark.parametrize("playbook", sorted((PROJECT / "playbooks").glob("*.yml")), ids=lambda path: path.name)
def test_facts_are_gathered_by_who_needs_them(playbook):
    """The project's ansible.cfg says so for the project only."""
    assert all(play["gather_facts"] is False for play in yaml.safe_load(playbook.read_text()))
