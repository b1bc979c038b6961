#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell who administers a machine today, and how each of them can log in."""

from __future__ import annotations

DOCUMENTATION = r"""
module: administrators
short_description: Tell who administers a machine today, and how each of them can log in
description:
  - Root, the members of the groups that sudoers names, and the users that it names, also in C(sudoers.d) and by number.
  - Somebody with neither password nor key is among them, too, since a certificate is a way in as well; root is not.
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
"""

import glob
import os
import re

from ansible.module_utils.basic import AnsibleModule

NO_LOGIN = ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false", "/usr/bin/false", "/bin/sync")


def fields(path):
    try:
        with open(path) as stream:
            return [line.rstrip("\n").split(":") for line in stream if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return []


def sudoers_names(texts):
    """Users and groups that a rule of sudoers gives rights to; aliases of users are taken apart."""
    users, groups, aliases, rules = set(), set(), {}, []
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            line = re.split(r"#(?!\d)", line)[0].strip()  # before digits it makes them the number of a user or group
            alias = re.match(r"User_Alias\s+(\w+)\s*=\s*(.+)", line)
            if alias:
                aliases[alias[1]] = [name.strip() for name in alias[2].split(",")]
            elif line and not re.match(r"(Defaults|\w+_Alias|@include)", line) and "=" in line:
                # The users come first, separated by commas; the hosts follow after a space.
                rules.append(re.split(r"\s*,\s*", re.split(r"(?<!,)\s+(?!,)", line)[0]))
    for names in rules:
        for name in (member for entry in names for member in aliases.get(entry, [entry])):
            (groups if name.startswith("%") else users).add(name.lstrip("%"))
    return users, groups


def read_all(paths):
    texts = []
    for path in paths:
        if os.path.isfile(path):
            with open(path, errors="replace") as stream:
                texts.append(stream.read())
    return texts


def has_key(root, home):
    paths = [os.path.join(root, home.lstrip("/"), ".ssh", name) for name in ("authorized_keys", "authorized_keys2")]
    return any(line.strip() and not line.startswith("#") for text in read_all(paths) for line in text.splitlines())


def find(root):
    """The administrators who may log in at all."""
    names, groups = sudoers_names(
        read_all([os.path.join(root, "etc/sudoers"), *sorted(glob.glob(os.path.join(root, "etc/sudoers.d/*")))])
    )
    passwords = {entry[0]: entry[1] for entry in fields(os.path.join(root, "etc/shadow"))}
    wanted_groups = set()
    for name, _, gid, members in fields(os.path.join(root, "etc/group")):
        if groups & {name, f"#{gid}"}:
            wanted_groups.add(gid)
            names |= set(members.split(","))

    found = {}
    for name, _, uid, gid, _, home, shell in fields(os.path.join(root, "etc/passwd")):
        administers = uid == "0" or names & {name, f"#{uid}", "ALL"} or gid in wanted_groups
        if not administers or shell in NO_LOGIN:
            continue
        password = passwords.get(name, "!")
        ways = {"password": bool(password) and password[0] not in "!*", "key": has_key(root, home)}
        if uid != "0" or any(ways.values()):
            found[name] = ways
    return found


def main():
    module = AnsibleModule(argument_spec={"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    found = find(module.params["root"])
    password_only = sorted(name for name, ways in found.items() if ways["password"] and not ways["key"])
    module.exit_json(changed=False, administrators=found, password_only=password_only)


if __name__ == "__main__":
    main()
