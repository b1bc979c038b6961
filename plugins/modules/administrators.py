#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell who administers a machine today, and how each of them can log in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: administrators
short_description: Tell who administers a machine today, and how each of them can log in
description:
  - Root, the members of the groups that sudoers names, and the users that it names, also in what it includes and by
    number. Whoever is named may be known to a directory service alone.
  - Somebody with neither password nor key is among them, too, since a certificate is a way in as well; root is only
    where sshd knows certificates, or keys in files that are not root's own.
  - Changes nothing.
options:
  root:
    description: Where the files of the machine lie.
    type: path
    default: /
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look who administers the machine
  hybrid.platform.administrators:
  register: who
"""

RETURN = r"""
administrators:
  description: Each administrator by name, with C(password) and C(key) telling by what they can log in.
  returned: always
  type: dict
password_only:
  description: Administrators who can log in by a password and have no key.
  returned: always
  type: list
  elements: str
tickets:
  description: Whether sshd lets people in by tickets of Kerberos.
  returned: always
  type: bool
methods:
  description: Those of C(keyboard-interactive) and C(password) that sshd asks somebody for by C(AuthenticationMethods).
  returned: always
  type: list
  elements: str
"""

import contextlib
import glob
import grp
import os
import pwd
import re

from ansible.module_utils.basic import AnsibleModule

# A word of sudoers, with what is quoted or escaped in it.
NAME = r'(?:"[^"]*"|\\.|[^\s,"\\])+'
CERTIFICATES_OR_FILES = r"(TrustedUserCAKeys[ \t=]+/|AuthorizedKeysFile[ \t=]+(?!\.ssh/|none\b))"
METHODS = ("keyboard-interactive", "password")
NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync")


def fields(path):
    try:
        with open(path) as stream:
            return [line.rstrip("\n").split(":") for line in stream if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return []


def read_all(paths):
    texts = []
    for path in paths:
        if os.path.isfile(path):
            with open(path, errors="replace") as stream:
                texts.append(stream.read())
    return texts


def sudoers(root, path="/etc/sudoers"):
    """The texts of a sudoers file and of what it includes; in a directory names with a dot or a tilde do not count."""
    found = []
    for text in read_all([os.path.join(root, path.lstrip("/"))]):
        found.append(text)
        for kind, name in re.findall(r"(?m)^\s*[@#](include|includedir)\s+\"?([^\"\n]+?)\"?\s*$", text):
            name = os.path.join(os.path.dirname(path), name)
            if kind == "include":
                found += sudoers(root, name)
                continue
            inside = sorted(glob.glob(os.path.join(root, name.lstrip("/"), "*")))
            for file in map(os.path.basename, inside):
                if "." not in file and not file.endswith("~"):
                    found += sudoers(root, os.path.join(name, file))
    return found


def listed(text):
    """The names of a list of sudoers: %"domain admins", "%domain admins" and %domain\\ admins are one group."""
    return [re.sub(r"\\(.)", r"\1", name.replace('"', "")) for name in re.findall(NAME, text)]


def sudoers_names(texts):
    """Users and groups that a rule of sudoers gives rights to; aliases, also of aliases, are taken apart."""
    users, groups, aliases, rules = set(), set(), {}, []
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            line = re.split(r"#(?!\d)", line)[0].strip()  # before digits it makes them the number of a user or group
            alias = re.match(r"User_Alias\s+(.+)", line)
            if alias:
                for definition in re.split(r"\s*:\s*", alias[1]):
                    name, _, members = definition.partition("=")
                    aliases[name.strip()] = listed(members)
            elif not re.match(r"(Defaults|\w+_Alias|[@#]include)", line) and "=" in line:
                # The users come first, separated by commas; the hosts follow after a space.
                rules += listed(re.match(rf"({NAME}(\s*,\s*{NAME})*)?", line)[0])
    left, seen = rules, set()
    while left:
        name = left.pop()
        if name in aliases and name not in seen:
            seen.add(name)
            left += aliases[name]
        elif name not in aliases:
            (groups if name.startswith("%") else users).add(name.lstrip("%"))
    return users, groups


def has_key(root, home):
    """Whether somebody can log in by a key; one that is tied to a command gives no shell."""
    paths = [os.path.join(root, home.lstrip("/"), ".ssh", name) for name in ("authorized_keys", "authorized_keys2")]
    lines = [line.strip() for text in read_all(paths) for line in text.splitlines()]
    return any(line and not line.startswith("#") and "command=" not in line for line in lines)


def sshd_has(root, setting):
    """Whether sshd is told so anywhere; an expression without regard to case."""
    texts = read_all(
        glob.glob(os.path.join(root, "etc/ssh/sshd_config"))
        + glob.glob(os.path.join(root, "etc/ssh/sshd_config.d/*.conf"))
    )
    return any(re.search(rf"(?mi)^\s*{setting}", text) for text in texts)


def members_of(root, groups):
    """The users whom these groups name, and the numbers of the groups; groups of a directory service, too."""
    members, numbers = set(), set()
    for name, _, gid, users in fields(os.path.join(root, "etc/group")):
        if groups & {name, f"#{gid}"}:
            numbers.add(gid)
            members |= set(users.split(","))
    for name in groups if root == "/" else ():
        with contextlib.suppress(KeyError):
            group = grp.getgrnam(name)
            numbers.add(str(group.gr_gid))
            members |= set(group.gr_mem)
    return members, numbers


def known_elsewhere(names):
    """The lines of passwd of users whom only a directory service knows."""
    found = []
    for name in sorted(names):
        with contextlib.suppress(KeyError):
            found.append([str(value) for value in pwd.getpwnam(name)])
    return found


def find(root):
    """The administrators who may log in at all."""
    names, groups = sudoers_names(sudoers(root))
    members, wanted_groups = members_of(root, groups)
    names |= members
    passwords = {entry[0]: entry[1] for entry in fields(os.path.join(root, "etc/shadow"))}
    here = fields(os.path.join(root, "etc/passwd"))
    elsewhere = known_elsewhere(names - {entry[0] for entry in here}) if root == "/" else []
    found = {}
    for entry in here + elsewhere:
        name, _, uid, gid, _, home, shell = entry
        administers = uid == "0" or names & {name, f"#{uid}", "ALL"} or gid in wanted_groups
        if not administers or shell in NO_LOGIN:
            continue
        # A directory tells nobody's password, and sshd gets keys from it by a command.
        password = "known elsewhere" if entry in elsewhere else passwords.get(name, "!")
        key = has_key(root, home) or (entry in elsewhere and sshd_has(root, "AuthorizedKeysCommand[ \t=]+/"))
        # Nobody can tell from here whom a certificate or a file elsewhere lets in as root, so it counts.
        key = key or (uid == "0" and sshd_has(root, CERTIFICATES_OR_FILES))
        ways = {"password": bool(password) and password[0] not in "!*", "key": key}
        if uid != "0" or any(ways.values()):
            found[name] = ways
    return found


def main():
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    found = find(module.params["root"])
    password_only = sorted(name for name, ways in found.items() if ways["password"] and not ways["key"])
    tickets = sshd_has(module.params["root"], "GSSAPIAuthentication[ \t=]+yes")
    methods = [name for name in METHODS if sshd_has(module.params["root"], rf"AuthenticationMethods\b.*\b{name}\b")]
    module.exit_json(changed=False, administrators=found, password_only=password_only, tickets=tickets, methods=methods)


if __name__ == "__main__":
    main()
