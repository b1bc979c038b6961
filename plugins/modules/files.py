#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Write a set of files in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Write a set of small files in one call
description:
  - Writes, or removes, every file of a list. One connection instead of three a file, which in a chroot,
    over a slow link or on an emulated machine is most of a role's time.
  - A file is replaced in one step, after its validation; a file that fails it stops the call with the old one in place.
  - Missing parent directories are made with mode 0755.
options:
  files:
    description: What must be there, in order.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path; for O(files[].state=tightened) a shell pattern.
        type: path
        required: true
      content:
        description: The whole content. Needed where O(files[].state=present).
        type: str
      mode:
        description: Permissions, as four octal digits.
        type: str
        default: "0644"
      owner:
        description: Owner's name. The user that the task runs as by default.
        type: str
      group:
        description: Group's name. The group of that user by default.
        type: str
      state:
        description:
          - V(present) is a file with this content, V(absent) none.
          - V(existing) sets owner and permissions where there is a file or a directory, and makes none.
          - V(tightened) takes from every regular file that O(files[].path) matches, or from every directory where it
            ends in a slash, the permissions that O(files[].mode) does not grant. Grants none, and leaves owners alone.
            Warns of what it cannot change, such as a home by NFS, which the server's root alone may, and goes on.
        type: str
        choices: [present, absent, existing, tightened]
        default: present
      replace:
        description: Whether a file that is there gets this content; its owner and permissions are set in any case.
        type: bool
        default: true
      validate:
        description: Command that must succeed before a changed file is put in place; C(%s) stands for the new file.
        type: str
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Set two limits
  hybrid.platform.files:
    files:
      - path: /etc/systemd/coredump.conf.d/limit.conf
        content: "[Coredump]\nStorage=none\n"
      - path: /etc/security/limits.d/limit.conf
        content: "* hard core 0\n"

- name: Keep the files of users from each other
  hybrid.platform.files:
    files:
      - {path: /home/*/, state: tightened, mode: "0750"}
"""

RETURN = r"""
changed_paths:
  description: Paths that were, or in check mode would be, changed.
  returned: always
  type: list
  elements: str
"""

import glob
import os
import stat

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.changed_files import Changes, read, widen_umask, write

ITEM = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent", "existing", "tightened"], "default": "present"},
    "replace": {"type": "bool", "default": True},
    "validate": {"type": "str"},
}


def tighten(module, item, changes):
    """Take away what the mode does not grant, from what the pattern matches now."""
    kind = stat.S_ISDIR if item["path"].endswith("/") else stat.S_ISREG
    for path in sorted(glob.glob(item["path"])):
        path = path.rstrip("/")
        mode = os.lstat(path).st_mode  # of a link itself, which is neither
        excess = mode & 0o777 & ~int(item["mode"], 8)
        if kind(mode) and excess:
            if not module.check_mode:
                try:
                    os.chmod(path, stat.S_IMODE(mode) & ~excess)
                except OSError as error:
                    module.warn(f"{path} keeps its mode {stat.S_IMODE(mode):04o}: {error.strerror}")
                    continue
            changes.add(path, b"%04o\n" % stat.S_IMODE(mode), b"%04o\n" % (stat.S_IMODE(mode) & ~excess))


def lines(attributes):
    return "".join(f"{name}: {value}\n" for name, value in attributes.items()).encode()


def ensure(module, item, changes):
    """Bring one file to its state."""
    if item["state"] == "tightened":
        tighten(module, item, changes)
        return
    path = item["path"]
    before = None if item["state"] == "existing" else read(path)
    if item["state"] == "absent":
        if before is not None:
            if not module.check_mode:
                os.unlink(path)
            changes.add(path, before, None)
        return

    as_it_is = item["state"] == "existing" or (before is not None and not item["replace"])
    content = before if as_it_is else item["content"].encode()
    written = before != content
    if written and not module.check_mode:
        write(module, path, content, item["validate"])
    changed, permissions = False, {"before": {}, "after": {}}
    if os.path.exists(path):
        owners = {"owner": item["owner"] or str(os.geteuid()), "group": item["group"] or str(os.getegid())}
        attributes = module.load_file_common_arguments(item | owners, path=path)
        changed = module.set_fs_attributes_if_different(attributes, False, permissions)
    if written:
        changes.add(path, before, content)
    elif changed:
        changes.add(path, lines(permissions["before"]), lines(permissions["after"]))


def main():
    widen_umask()
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": ITEM,
                "required_if": [("state", "present", ("content",))],
            },
        },
        supports_check_mode=True,
    )
    changes = Changes()
    for item in module.params["files"]:
        ensure(module, item, changes)
    module.exit_json(**changes.result(module))


if __name__ == "__main__":
    main()
