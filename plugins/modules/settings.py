#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Set values in configuration files that others wrote, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: settings
short_description: Set values in configuration files of lines with a key and a value
description:
  - Each key ends up in exactly one active line. A line that sets it is changed where it stands, others that set it go,
    and where only a comment shows it, the line comes below that comment. Everything else stays as it is.
options:
  files:
    description: The files, each with its values.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      separator:
        description: What stands between key and value.
        type: str
        default: " "
      header:
        description: First line of the file where it is missing or empty, such as the section that the values belong to.
        type: str
        default: ""
      values:
        description: Values by key; a key alone where the value is null.
        type: dict
        required: true
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Make new accounts' files private
  hybrid.platform.settings:
    files:
      - path: /etc/login.defs
        values: {UMASK: "027"}
"""

RETURN = r"""
changed_paths:
  description: Paths that were, or in check mode would be, changed.
  returned: always
  type: list
  elements: str
"""

import re

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.changed_files import Changes, read, widen_umask, write

FILE = {
    "path": {"type": "path", "required": True},
    "separator": {"type": "str", "default": " "},
    "header": {"type": "str", "default": ""},
    "values": {"type": "dict", "required": True},
}


def set_value(lines, key, wanted):
    """The lines with `wanted` as the one that sets the key."""
    active = re.compile(rf"\s*{re.escape(key)}(?=[\s=]|$)")
    comment = re.compile(rf"\s*#\s*{re.escape(key)}(?=[\s=]|$)")
    places = [number for number, line in enumerate(lines) if active.match(line)]
    if places:
        kept = [line for number, line in enumerate(lines) if number not in places[1:]]
        kept[places[0]] = wanted if lines[places[0]].split("#")[0].split() != wanted.split() else lines[places[0]]
        return kept
    shown = [number for number, line in enumerate(lines) if comment.match(line)]
    place = shown[-1] + 1 if shown else len(lines)
    return [*lines[:place], wanted, *lines[place:]]


def edit(text, separator, header, values):
    lines = text.splitlines() or [line for line in [header] if line]
    for key, value in values.items():
        lines = set_value(lines, key, key if value is None else f"{key}{separator}{value}")
    return "".join(f"{line}\n" for line in lines)


def main():
    widen_umask()
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": FILE}},
        supports_check_mode=True,
    )
    changes = Changes()
    for item in module.params["files"]:
        path, before = item["path"], read(item["path"])
        text = (before or b"").decode()
        after = edit(text, item["separator"], item["header"], item["values"])
        if after == text:
            continue
        if not module.check_mode:
            write(module, path, after.encode())
        changes.add(path, before, after.encode())
    module.exit_json(**changes.result(module))


if __name__ == "__main__":
    main()
