#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Remove from an image everything that belongs to one machine or to its build."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_seal
short_description: Remove what belongs to one machine, or to the build, from an image
description:
  - Removes the files that match O(remove), empties those in O(empty) and every file below O(logs), all in one call.
  - In check mode it only tells what is left to do, so a second call in check mode that reports no change proves
    that the image is sealed.
options:
  remove:
    description:
      - Shell patterns of files and directories that must not be in an image. A home may be C(~root).
    type: list
    elements: path
    required: true
  empty:
    description: Files that must exist and be empty.
    type: list
    elements: str
    default: []
  logs:
    description:
      - Directories below which no file has content. Such a file is replaced by an empty one with the same owner and
        mode, since some services do not start without theirs; whoever has it open goes on writing into one that has no
        name any more.
    type: list
    elements: str
    default: []
  keep:
    description: Entries of the other lists that are left alone, with everything that is below them.
    type: list
    elements: path
    default: []
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Seal the image
  hybrid.platform.image_seal:
    remove: ["/etc/ssh/ssh_host_*", "~root/.ssh/*", "/home/*/.ssh/*"]
    empty: [/etc/machine-id]
    logs: [/var/log]
"""

RETURN = r"""
removed:
  description: What was, or in check mode would be, removed.
  returned: always
  type: list
  elements: str
emptied:
  description: What was, or in check mode would be, emptied.
  returned: always
  type: list
  elements: str
"""

import glob
import os
import shutil
import stat

from ansible.module_utils import basic
from ansible.module_utils.basic import AnsibleModule


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def is_made_at_boot(path):
    """Whether it is a link to what a service writes anew on each machine, as systemd-resolved does."""
    target = os.path.join(os.path.dirname(path), os.readlink(path)) if os.path.islink(path) else ""
    return os.path.normpath(target).startswith("/run/")


def is_empty(path):
    return os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) == 0


def make_empty(path):
    if os.path.islink(path):
        os.unlink(path)
    with open(path, "w"):
        pass
    # Some come as copies of the builder's, with whatever mode they had there.
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & 0o664)


def replace_by_empty(path):
    before = os.stat(path)
    os.unlink(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
    os.close(descriptor)


def matches(patterns):
    """Everything that matches, in a stable order, each once; hidden files need a pattern with a dot."""
    found = {path for pattern in patterns for path in glob.glob(pattern, recursive=True)}
    # Ansible runs this very code from a directory under /tmp, and removes it afterwards.
    return sorted(path for path in found if not basic.__file__.startswith(path + os.sep))


def with_content(directories):
    """Every file below them that is not empty."""
    walked = (os.path.join(parent, name) for one in directories for parent, _, names in os.walk(one) for name in names)
    return sorted(path for path in walked if os.path.isfile(path) and not os.path.islink(path) and not is_empty(path))


def parents(path):
    while path != (path := os.path.dirname(path)):
        yield path


def is_at(path, places):
    """Whether it is one of the places, or below one."""
    return not {path, *parents(path)}.isdisjoint(places)


def main():
    module = AnsibleModule(
        argument_spec={
            "remove": {"type": "list", "elements": "path", "required": True},
            "empty": {"type": "list", "elements": "str", "default": []},
            "logs": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    doomable, empty, logs, keep = (module.params[name] for name in ("remove", "empty", "logs", "keep"))
    if unknown := sorted({*keep} - {*doomable, *empty, *logs}):
        allowed = ", ".join(sorted({*doomable, *empty, *logs}))
        module.fail_json(msg=f"sealing does not know {', '.join(unknown)}, so it cannot keep that; it knows {allowed}")
    kept = matches(keep)
    holds_kept = {parent for path in kept for parent in parents(path)}
    doomed = [path for path in matches(doomable) if not is_at(path, kept) and path not in holds_kept]
    full = [path for path in empty if path not in keep and not is_empty(path) and not is_made_at_boot(path)]
    written = [path for path in with_content(logs) if not is_at(path, [*kept, *doomed, *full])]
    if not module.check_mode:
        for path in doomed:
            if os.path.lexists(path):  # a match inside a directory that went already
                remove(path)
        for path in full:
            make_empty(path)
        for path in written:
            replace_by_empty(path)
    module.exit_json(changed=bool(doomed or full or written), removed=doomed, emptied=full + written)


if __name__ == "__main__":
    main()
