"""hybrid.platform.administrators"""

import pytest

from plugins.modules import administrators

PASSWD = """root:x:0:0::/root:/bin/bash
ann:x:1000:1000::/home/ann:/bin/bash
bob:x:1001:1001::/home/bob:/bin/bash
cid:x:1002:1002::/home/cid:/bin/bash
dot:x:1003:1003::/home/dot:/bin/bash
eve:x:1004:27::/home/eve:/bin/bash
app:x:1005:1005::/srv:/usr/sbin/nologin
usr:x:1006:1006::/home/usr:/bin/bash
num:x:1007:1007::/home/num:/bin/bash
grp:x:1008:1008::/home/grp:/bin/bash
"""
SHADOW = "".join(
    f"{name}:{'$y$x' if name not in ('root', 'bob') else '!'}:1:0::::\n"
    for name in ("root", "ann", "bob", "cid", "dot", "eve", "app", "usr")
)


@pytest.fixture
def machine(tmp_path):
    for directory in ("etc/sudoers.d", "home/bob/.ssh", "home/cid/.ssh"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/shadow").write_text(SHADOW)
    (tmp_path / "etc/group").write_text("sudo:x:27:ann\nops:x:99:app\nhands:x:98:grp\n")
    (tmp_path / "etc/sudoers").write_text(
        "Defaults env_reset\nUser_Alias STAFF = dot, bob\n%sudo ALL=(ALL:ALL) ALL\nSTAFF ALL = \\\n  ALL\n"
        "#usr ALL=ALL\n@includedir /etc/sudoers.d\n"
    )
    (tmp_path / "etc/sudoers.d/team").write_text("cid ALL=(root) /usr/bin/systemctl\n%ops ALL=ALL\n")
    (tmp_path / "etc/sudoers.d/numbers").write_text("#1007 ALL=ALL\n%#98 ALL=ALL\n")
    for name in ("bob", "cid"):
        (tmp_path / f"home/{name}/.ssh/authorized_keys").write_text("ssh-ed25519 AAAA x\n")
    return tmp_path


def test_everyone_who_administers_is_found_however_the_right_was_given(call, machine):
    found = call(administrators, root=str(machine))["administrators"]
    assert set(found) == {"ann", "bob", "cid", "dot", "eve", "num", "grp"}
    assert found["cid"] == {"password": True, "key": True}
    assert found["bob"] == {"password": False, "key": True}


def test_somebody_who_may_come_by_a_certificate_is_one_and_a_root_without_a_way_in_is_none(call, machine):
    found = call(administrators, root=str(machine))["administrators"]
    assert found["num"] == {"password": False, "key": False} and "root" not in found


def test_those_who_would_be_locked_out_without_passwords_are_named(call, machine):
    assert call(administrators, root=str(machine))["password_only"] == ["ann", "dot", "eve"]


@pytest.mark.parametrize(
    "group", ['%"domain admins"', '"%domain admins"', "%domain\\ admins", '"%#96"', "eve , %domain\\ admins"]
)
def test_a_group_with_a_space_in_its_name_is_found_however_it_is_quoted(call, machine, group):
    (machine / "etc/group").write_text("domain admins:x:96:dot\n")
    (machine / "etc/sudoers").write_text(f"{group} ALL=(ALL) ALL\n")
    assert "dot" in call(administrators, root=str(machine))["administrators"]


def test_a_domain_is_part_of_a_groups_name():
    users, groups = administrators.sudoers_names(["%CORP\\\\domain\\ admins ALL=(ALL) ALL\nCORP\\\\ann ALL=ALL\n, =\n"])
    assert (users, groups) == ({"CORP\\ann"}, {"CORP\\domain admins"})


@pytest.mark.parametrize(
    ("settings", "comes_in", "tickets"),
    [
        ("#TrustedUserCAKeys /etc/ssh/ca.pub\n#GSSAPIAuthentication yes\n", False, False),
        ("AuthorizedKeysFile .ssh/authorized_keys\n", False, False),
        ("TrustedUserCAKeys /etc/ssh/ca.pub\n", True, False),
        ("authorizedkeysfile /etc/ssh/keys/%u\n", True, False),
        ("GSSAPIAuthentication yes\n", False, True),
        ("GSSAPIAuthentication no\n", False, False),
    ],
)
def test_ways_in_that_no_file_of_a_user_shows_are_found(call, machine, settings, comes_in, tickets):
    (machine / "etc/ssh/sshd_config.d").mkdir(parents=True)
    (machine / "etc/ssh/sshd_config.d/site.conf").write_text(settings)
    found = call(administrators, root=str(machine))
    assert found["administrators"].get("root", {"key": False})["key"] is comes_in and found["tickets"] is tickets
    assert "ann" in found["password_only"], "whether a certificate is hers nobody can tell"


@pytest.mark.parametrize(
    ("methods", "asked"),
    [
        ("any", []),
        ("publickey", []),
        ("publickey,keyboard-interactive", ["keyboard-interactive"]),
        ("publickey publickey,keyboard-interactive:pam", ["keyboard-interactive"]),
        ('"publickey,password"', ["password"]),
    ],
)
def test_what_is_asked_for_beside_a_key_is_told(call, machine, methods, asked):
    (machine / "etc/ssh").mkdir()
    (machine / "etc/ssh/sshd_config").write_text(
        f"#AuthenticationMethods password\nMatch Group humans\n  authenticationmethods {methods}\n  X11Forwarding no\n"
    )
    assert call(administrators, root=str(machine))["methods"] == asked


def test_whoever_is_named_by_an_alias_of_aliases_or_in_an_included_file_is_found(call, machine):
    (machine / "etc/sudoers").write_text(
        "User_Alias HANDS = ann, STAFF : STAFF = HANDS, dot\nSTAFF ALL=ALL\n#include local\n"
    )
    (machine / "etc/local").write_text("cid ALL=ALL\n")
    assert set(call(administrators, root=str(machine))["administrators"]) == {"ann", "dot", "cid"}


def test_files_that_sudo_leaves_out_make_no_administrators(call, machine):
    (machine / "etc/sudoers.d/old.bak").write_text("usr ALL=ALL\n")
    (machine / "etc/sudoers.d/old~").write_text("usr ALL=ALL\n")
    assert "usr" not in call(administrators, root=str(machine))["administrators"]


def test_a_key_that_is_tied_to_a_command_is_no_way_in(call, machine):
    (machine / "home/cid/.ssh/authorized_keys").write_text(
        '# ann\nno-pty,command="rsync --server" ssh-ed25519 AAAA x\n'
    )
    assert call(administrators, root=str(machine))["administrators"]["cid"]["key"] is False


def test_somebody_with_a_password_that_is_locked_or_none_needs_no_key(call, machine):
    (machine / "etc/shadow").write_text("ann:!$y$x:1:0::::\ndot:*:1:0::::\neve::1:0::::\n")
    assert call(administrators, root=str(machine))["password_only"] == []


@pytest.mark.parametrize(
    ("command", "locked_out"), [("", ["far", "lead"]), ("AuthorizedKeysCommand /usr/bin/sss_keys\n", [])]
)
def test_those_whom_only_a_directory_service_knows_are_found(call, monkeypatch, tmp_path, command, locked_out):
    files = {"etc/sudoers": "far ALL=ALL\n%domain\\ admins ALL=ALL\n", "etc/ssh/sshd_config": command}
    monkeypatch.setattr(
        administrators, "read_all", lambda paths: [files[path[1:]] for path in paths if path[1:] in files]
    )
    monkeypatch.setattr(
        administrators.glob, "glob", lambda pattern: ["/etc/ssh/sshd_config"] if "config" in pattern else []
    )
    monkeypatch.setattr(administrators, "fields", lambda path: [])
    users = {name: (name, "x", 7000, 7000, "", f"/home/{name}", "/bin/bash") for name in ("far", "lead")}
    monkeypatch.setattr(administrators.pwd, "getpwnam", users.__getitem__)
    group = administrators.grp.struct_group(("domain admins", "x", 7001, ["lead"]))
    monkeypatch.setattr(administrators.grp, "getgrnam", {"domain admins": group}.__getitem__)
    assert call(administrators)["password_only"] == locked_out
