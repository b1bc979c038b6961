"""An image is sealed: nothing in it belongs to one machine, to a person, or to its build."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import testinfra

from infra.machines.state import PROJECT
from infra.targets.local.image_root import connection
from tests.image.conftest import HYGIENE, RELEASE, root_host, unclean

RULES = re.search(r"^for rule in (.*?); do", HYGIENE, re.MULTILINE | re.DOTALL)[1].replace("\\", "").split()
KEY = "ssh-keygen -q -t ed25519 -N '' -f"

# How to break each promise, and what must be told of it.
VIOLATIONS = [
    ("echo 0123456789abcdef0123456789abcdef >/etc/machine-id", "machine_identity: /etc/machine-id"),
    ("echo builder >/etc/hostname", "machine_identity: /etc/hostname names the builder"),
    ("touch /var/lib/dbus/machine-id", "machine_identity: /var/lib/dbus/machine-id"),
    (f"{KEY} /etc/ssh/ssh_host_ed25519_key", "host_keys: /etc/ssh/ssh_host_ed25519_key"),
    (f"mkdir -p /etc/ssl/private; {KEY} /etc/ssl/private/web.key", "private_keys: /etc/ssl/private/web.key"),
    ("head -c 512 /dev/urandom >/var/lib/systemd/random-seed", "random_seed: /var/lib/systemd/random-seed"),
    ("echo x >/var/lib/systemd/credential.secret", "random_seed: /var/lib/systemd/credential.secret"),
    ("mkdir -p /var/log/deep; echo x >/var/log/deep/messages", "logs: /var/log/deep/messages"),
    ("echo x >/var/log/wtmp", "logs: /var/log/wtmp"),
    ("echo ls >/root/.bash_history", "histories: /root/.bash_history"),
    ("mkdir -p /home/ann; echo ann:x:1999:1999::/home/ann:/bin/sh >>/etc/passwd; echo ls >/home/ann/.python_history",
     "histories: /home/ann/.python_history"),
    ("echo x >/var/cache/apt/archives/less_1_amd64.deb", "package_caches: /var/cache/apt/archives/less_1_amd64.deb"),
    ("echo x >/var/lib/apt/lists/main_Packages", "package_caches: /var/lib/apt/lists/main_Packages"),
    ("mkdir -p /var/lib/cloud/data; echo i-1 >/var/lib/cloud/data/instance-id",
     "cloud_state: /var/lib/cloud/data/instance-id"),
    ("echo x >/tmp/.left", "temporary_files: /tmp/.left"),
    ("mkdir -p /var/tmp/build; echo x >/var/tmp/build/out", "temporary_files: /var/tmp/build/out"),
    ("mkdir -p /root/.ssh; echo ssh-ed25519 AAAA >/root/.ssh/authorized_keys", "access: /root/.ssh/authorized_keys"),
    ("echo 'ann:$y$j9T$x$y:1::::::' >>/etc/shadow", "access: ann has a password"),
    ("echo 'bob::1::::::' >>/etc/shadow", "access: bob needs no password"),
    ("mkdir -p /root/.aws; echo x >/root/.aws/credentials", "credentials: /root/.aws/credentials"),
    ("mkdir -p /etc/apt/auth.conf.d; echo x >/etc/apt/auth.conf.d/a.conf", "credentials: /etc/apt/auth.conf.d/a.conf"),
    ("touch /usr/sbin/policy-rc.d", "build_leftovers: /usr/sbin/policy-rc.d"),
    ("echo nameserver 192.0.2.1 >/etc/resolv.conf", "build_leftovers: /etc/resolv.conf:nameserver 192.0.2.1"),
    ("mkdir -p /root/.ansible/tmp", "build_leftovers: /root/.ansible"),
    ("echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/build", "build_leftovers: /etc/dpkg/dpkg.cfg.d/build"),
    ("echo 'Acquire::http::Proxy \"http://192.0.2.1\";' >/etc/apt/apt.conf.d/99p",
     "build_leftovers: /etc/apt/apt.conf.d/99p"),
    ("touch /etc/shadow-", "build_leftovers: /etc/shadow-"),
    ("mkdir -p /var/lib/dhcp; echo x >/var/lib/dhcp/eth0.leases", "leases: /var/lib/dhcp/eth0.leases"),
]  # fmt: skip


@pytest.fixture(scope="session")
def found(image, request):
    """What is wrong with the image, or with the machine that was started from it."""
    if machine := request.config.getoption("--machine"):
        return unclean(testinfra.get_host(machine), "booted")
    return unclean(root_host(image / "root"), "sealed")


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_left(found, rule):
    assert {line for line in found if line.startswith(f"{rule}: ")} == set()


@pytest.fixture(scope="session")
def planted(copy_of):
    """What is found in a copy of the image with every violation in it."""
    root = copy_of("planted")
    host = root_host(root)
    for command, _ in VIOLATIONS:
        host.run_expect([0], command)
    return unclean(host, "sealed")


@pytest.mark.parametrize(("command", "told"), VIOLATIONS, ids=[told for _, told in VIOLATIONS])
def test_a_violation_is_caught(planted, command, told):
    assert told in planted


def test_every_rule_is_tried():
    assert {told.partition(":")[0] for _, told in VIOLATIONS} == set(RULES)


def test_an_image_that_does_not_say_what_it_is_is_no_image(copy_of):
    root = copy_of("nameless")
    (root / "etc/golden-image.json").unlink()
    assert unclean(root_host(root), "sealed") == {"description: there is no /etc/golden-image.json"}


def test_an_image_without_a_machine_id_file_is_refused(copy_of):
    root = copy_of("idless")
    (root / "etc/machine-id").unlink()
    assert any(line.startswith("machine_identity: /etc/machine-id is missing") for line in
               unclean(root_host(root), "sealed"))  # fmt: skip


def test_a_build_fails_where_something_is_left_that_sealing_does_not_know(copy_of, tmp_path):
    root = copy_of("left")
    root_host(root).check_output(f"mkdir -p /etc/ssl/private; {KEY} /etc/ssl/private/web.key")
    play = {"hosts": "all", "gather_facts": False, "vars": {"ansible_pipelining": True}}
    play["vars"] |= {"golden_image_name": "left", "golden_image_release": RELEASE}
    seal = {"name": "hybrid.platform.golden_image", "tasks_from": "seal.yml"}
    play["tasks"] = [{"ansible.builtin.import_role": seal}]
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"left": connection(root)}}}))
    command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", tmp_path / "inventory.yml"]
    done = subprocess.run([*command, tmp_path / "play.yml"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2, done.stdout
    assert '"stdout_lines": ["private_keys: /etc/ssl/private/web.key"]' in done.stdout, done.stdout


def test_a_machine_may_have_its_own_things_but_none_of_the_image(copy_of):
    host = root_host(copy_of("booted"))
    host.check_output("touch -d '2 days' /etc/golden-image.json")
    host.check_output("echo 0123456789abcdef0123456789abcdef >/etc/machine-id")
    for path in ("/etc/ssh/ssh_host_ed25519_key", "/root/.bash_history", "/var/log/syslog"):
        host.check_output(f"echo x >{path}; touch -d '3 days' {path}")
    assert unclean(host, "booted") == set()
    host.check_output("touch -d '1 day' /root/.bash_history")
    assert unclean(host, "booted") == {"histories: /root/.bash_history"}
