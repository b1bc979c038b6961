#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Write small files where Ansible runs; the action plugin of the same name does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: local_files
short_description: Write small files where Ansible runs
description:
  - Writes in Ansible's own process, also in check mode and whatever the host is, since what is written is a record of
    the run. A delegated module would start a Python for each host.
  - A file is replaced in one step; missing parent directories are made. Its permissions are 0644.
  - Never says that anything has changed, because no host has.
options:
  files:
    description: What must be there.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute, or from the directory in which Ansible was called.
        type: path
        required: true
      content:
        description: The whole content.
        type: str
        required: true
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Keep what was found
  hybrid.platform.local_files:
    files:
      - path: /srv/evidence/{{ inventory_hostname }}.json
        content: "{{ found | to_nice_json }}\n"
"""

RETURN = "{}"
