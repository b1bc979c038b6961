#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Remove from an image everything that belongs to one machine or to its build."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_seal
short_description: Remove what belongs to one machine, or to the build, from an image
description:
  - Removes the files that match O(remove), empties those that match O(empty) and every log, all in one call.
  - In check mode it only tells what is left to do, so a second call in check mode that reports no change proves
    that the image is sealed.
options:
  remove:
    description: Shell patterns of files and directories that must not be in an image.
    type: list
    elements: str
    required: true
  empty:
    description: Files that must exist and be empty.
    type: list
    elements: str
    default: []
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Seal the image
  hybrid.platform.image_seal:
    remove: ["/etc/ssh/ssh_host_*", "/var/log/*.log"]
    empty: [/etc/machine-id]
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


def is_empty(path):
    return os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) == 0


def make_empty(path):
    if os.path.islink(path):
        os.unlink(path)
    with open(path, "w"):
        pass
    # Some come as copies of the builder's, with whatever mode they had there.
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & 0o664)


def matches(patterns):
    """Everything that matches, in a stable order, each once; hidden files need a pattern with a dot."""
    found = {path for pattern in patterns for path in glob.glob(pattern, recursive=True)}
    # Ansible runs this very code from a directory under /tmp, and removes it afterwards.
    return sorted(path for path in found if not basic.__file__.startswith(path + os.sep))


def main():
    module = AnsibleModule(
        argument_spec={
            "remove": {"type": "list", "elements": "str", "required": True},
            "empty": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    doomed = matches(module.params["remove"])
    full = [path for path in module.params["empty"] if not is_empty(path)]
    if not module.check_mode:
        for path in doomed:
            if os.path.lexists(path):  # a match inside a directory that went already
                remove(path)
        for path in full:
            make_empty(path)
    module.exit_json(changed=bool(doomed or full), removed=doomed, emptied=full)


if __name__ == "__main__":
    main()
