"""An image is sealed: nothing in it belongs to one machine, to a person, or to its build."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import testinfra

from infra.machines.state import PROJECT
from infra.targets.local.image_root import connection, run_directory
from tests.image.conftest import HYGIENE, RELEASE, root_host, unclean

RULES = re.search(r"^for rule in (.*?); do", HYGIENE, re.MULTILINE | re.DOTALL)[1].replace("\\", "").split()
# Of root, in every image.
HOME = "/root"
KEY = "ssh-keygen -q -t ed25519 -N '' -f"

# What a build leaves by itself, so that sealing takes it away, and what must be told of it.
LEFT = [
    ("echo 0123456789abcdef0123456789abcdef >/etc/machine-id", "machine_identity: /etc/machine-id"),
    ("echo builder >/etc/hostname", "machine_identity: /etc/hostname names the builder"),
    ("touch /var/lib/dbus/machine-id", "machine_identity: /var/lib/dbus/machine-id"),
    (f"{KEY} /etc/ssh/ssh_host_ed25519_key", "host_keys: /etc/ssh/ssh_host_ed25519_key"),
    ("touch /etc/ssh/ssh_host_ed25519_key-cert.pub", "host_keys: /etc/ssh/ssh_host_ed25519_key-cert.pub"),
    ("head -c 512 /dev/urandom >/var/lib/systemd/random-seed", "random_seed: /var/lib/systemd/random-seed"),
    ("echo x >/var/lib/systemd/credential.secret", "random_seed: /var/lib/systemd/credential.secret"),
    ("mkdir -p /var/log/deep; echo x >/var/log/deep/messages", "logs: /var/log/deep/messages"),
    ("echo x >/var/log/deep/messages.1", "logs: /var/log/deep/messages.1"),
    ("echo x >/var/log/wtmp", "logs: /var/log/wtmp"),
    (f"echo ls >{HOME}/.bash_history", f"histories: {HOME}/.bash_history"),
    ("mkdir -p /home/ann; echo ann:x:1999:1999::/home/ann:/bin/sh >>/etc/passwd; echo ls >/home/ann/.python_history",
     "histories: /home/ann/.python_history"),
    *((f"echo x >{home}/{file}", f"histories: {home}/{file}")
      for home in (HOME, "/home/ann") for file in (".lesshst", ".viminfo", ".wget-hsts")),
    ("touch /home/ann/.sudo_as_admin_successful", "histories: /home/ann/.sudo_as_admin_successful"),
    ("echo x >/var/cache/apt/archives/less_1_amd64.deb", "package_caches: /var/cache/apt/archives/less_1_amd64.deb"),
    ("echo x >/var/lib/apt/lists/main_Packages", "package_caches: /var/lib/apt/lists/main_Packages"),
    ("mkdir -p /var/lib/cloud/data; echo i-1 >/var/lib/cloud/data/instance-id",
     "cloud_state: /var/lib/cloud/data/instance-id"),
    ("echo x >/tmp/.left", "temporary_files: /tmp/.left"),
    ("mkdir -p /var/tmp/build; echo x >/var/tmp/build/out", "temporary_files: /var/tmp/build/out"),
    (f"mkdir -p {HOME}/.ssh; echo ssh-ed25519 AAAA >{HOME}/.ssh/authorized_keys",
     f"access: {HOME}/.ssh/authorized_keys"),
    ("touch /usr/sbin/policy-rc.d", "build_leftovers: /usr/sbin/policy-rc.d"),
    ("rm /etc/resolv.conf; echo nameserver 192.0.2.1 >/etc/resolv.conf",
     "build_leftovers: /etc/resolv.conf:nameserver 192.0.2.1"),
    ("echo nameserver 192.0.2.1 >/etc/.resolv.conf.systemd-resolved.bak",
     "build_leftovers: /etc/.resolv.conf.systemd-resolved.bak"),
    *((f"mkdir -p {home}/{directory}/tmp", f"build_leftovers: {home}/{directory}")
      for home in (HOME, "/home/ann") for directory in (".ansible", ".cache")),
    ("touch /etc/shadow-", "build_leftovers: /etc/shadow-"),
    ("touch /etc/default/ssh.dpkg-dist", "build_leftovers: /etc/default/ssh.dpkg-dist"),
    ("mkdir -p /var/lib/dhcp; echo x >/var/lib/dhcp/eth0.leases", "leases: /var/lib/dhcp/eth0.leases"),
]  # fmt: skip

# What somebody has put there, so that the build fails.
PUT = [
    (f"mkdir -p /etc/ssl/private; {KEY} /etc/ssl/private/web.key", "private_keys: /etc/ssl/private/web.key"),
    ("echo 'ann:$y$j9T$x$y:1::::::' >>/etc/shadow", "access: ann has a password"),
    ("echo 'bob::1::::::' >>/etc/shadow", "access: bob needs no password"),
    (f"mkdir -p {HOME}/.aws; echo x >{HOME}/.aws/credentials", f"credentials: {HOME}/.aws/credentials"),
    ("mkdir -p /etc/apt/auth.conf.d; echo x >/etc/apt/auth.conf.d/a.conf", "credentials: /etc/apt/auth.conf.d/a.conf"),
    ("echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/build", "build_leftovers: /etc/dpkg/dpkg.cfg.d/build"),
    ("echo 'Acquire::http::Proxy \"http://192.0.2.1\";' >/etc/apt/apt.conf.d/99p",
     "build_leftovers: /etc/apt/apt.conf.d/99p"),
]  # fmt: skip
VIOLATIONS = LEFT + PUT


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
def planted_root(copy_of):
    """A copy of the image with every violation in it."""
    root = copy_of("planted")
    for command, _ in VIOLATIONS:
        root_host(root).run_expect([0], command)
    return root


@pytest.fixture(scope="session")
def planted(planted_root):
    """What is found there. Tests that seal it come after those that look."""
    return unclean(root_host(planted_root), "sealed")


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


@pytest.fixture
def seal(tmp_path):
    """Seals a root by a play as in the role's README, so with nothing set that the role needs."""

    def run(root: Path, *options: str, steps: str = "seal", **variables: Any) -> subprocess.CompletedProcess[str]:
        given = {"golden_image_name": "left", "golden_image_release": RELEASE, **variables}
        role = {"name": "hybrid.platform.golden_image", "tasks_from": steps}
        play = {"hosts": "all", "gather_facts": True, "tasks": [{"ansible.builtin.import_role": role}]}
        (tmp_path / "play.yml").write_text(json.dumps([play]))
        (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": {"left": connection(root)}}}))
        command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", tmp_path / "inventory.yml"]
        command += ["--extra-vars", json.dumps(given), *options, tmp_path / "play.yml"]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)

    return run


def told_by_raw(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The lines of the hygiene suite that failed a build."""
    assert done.returncode == 2, done.stdout
    return set(json.loads(re.search(r'"stdout_lines": (\[.*?\])', done.stdout, re.DOTALL)[1]))


def test_sealing_takes_what_a_build_leaves_and_fails_at_what_somebody_put_there(planted, planted_root, seal, tmp_path):
    """And then nothing stands beside it that would make it an image."""
    done = seal(planted_root, golden_image_manifest_destination=str(tmp_path / "beside" / "manifest.json"))
    assert told_by_raw(done) == {told for _, told in PUT}
    assert not (tmp_path / "beside").exists()


def test_what_was_kept_on_purpose_does_not_end_the_proof(copy_of, seal):
    host = root_host(root := copy_of("kept"))
    for command, told in VIOLATIONS:
        if told in {f"access: {HOME}/.ssh/authorized_keys", "logs: /var/log/deep/messages", PUT[0][1]}:
            host.check_output(command)
    done = seal(root, golden_image_keep=[f"{HOME}/.ssh/*", "/var/log"])
    assert told_by_raw(done) == {PUT[0][1]}
    assert host.file(f"{HOME}/.ssh/authorized_keys").exists
    assert host.file("/var/log/deep/messages").content_string == "x\n"


def test_what_sealing_does_not_know_is_not_kept_but_refused_before_anything_is_done(copy_of, seal):
    host = root_host(root := copy_of("mistaken"))
    host.check_output(f"echo ls >{HOME}/.bash_history")
    done = seal(root, golden_image_keep=[f"{HOME}/.shh/*"])
    assert done.returncode == 2 and f"sealing does not know {HOME}/.shh/*" in done.stdout, done.stdout
    assert host.file(f"{HOME}/.bash_history").exists


def test_a_check_writes_nothing_beside_the_image_and_a_build_all_of_it(copy_of, seal, tmp_path):
    root, manifest = copy_of("checked"), tmp_path / "beside" / "manifest.json"
    variables = {"golden_image_manifest_destination": str(manifest), "golden_image_lifetime_days": "7"}
    checked = seal(root, "--check", **variables)
    assert checked.returncode == 0 and not manifest.parent.exists(), checked.stdout
    sealed = seal(root, **variables)
    assert sealed.returncode == 0, sealed.stdout
    assert {path.name for path in manifest.parent.iterdir()} == {
        "manifest.json",
        "manifest.cdx.json",
        "manifest.cves.json",
    }


def test_a_check_of_a_sealed_image_leaves_it_sealed(copy_of, seal):
    """It fetches apt's lists, to say what would be installed."""
    host = root_host(root := copy_of("sealed"))
    lent = run_directory(root) / "systemd/resolve/stub-resolv.conf"
    lent.parent.mkdir(parents=True)
    shutil.copyfile("/etc/resolv.conf", lent)
    name = json.loads((root / "etc/golden-image.json").read_text())["name"]
    checked = seal(root, "--check", steps="main", golden_image_name=name)
    assert checked.returncode == 0 and "changed=0" in checked.stdout, checked.stdout
    assert unclean(host, "sealed") == set()
    assert host.check_output("date --reference=/var/lib/apt/lists +%Y") == "1970"


def test_a_machine_that_is_told_name_servers_by_dhcp_finds_names(copy_of, seal):
    """Also after the builder lent the root its own list once more."""
    host = root_host(root := copy_of("names"))
    assert host.check_output("systemctl is-enabled systemd-resolved.service") == "enabled"
    for lend in ("true", "rm /etc/resolv.conf; echo nameserver 192.0.2.1 >/etc/resolv.conf"):
        host.check_output(lend)
        assert seal(root).returncode == 0
        assert host.check_output("readlink /etc/resolv.conf") == "../run/systemd/resolve/stub-resolv.conf"


def test_a_machine_may_have_its_own_things_but_none_of_the_image(copy_of):
    host = root_host(copy_of("booted"))
    host.check_output("touch -d '2 days' /etc/golden-image.json")
    host.check_output("echo 0123456789abcdef0123456789abcdef >/etc/machine-id")
    for path in ("/etc/ssh/ssh_host_ed25519_key", f"{HOME}/.bash_history", "/var/log/syslog"):
        host.check_output(f"echo x >{path}; touch -d '3 days' {path}")
    assert unclean(host, "booted") == set()
    host.check_output(f"touch -d '1 day' {HOME}/.bash_history")
    assert unclean(host, "booted") == {f"histories: {HOME}/.bash_history"}
