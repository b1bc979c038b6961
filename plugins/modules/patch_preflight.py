#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell why a machine cannot be patched now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_preflight
short_description: Tell why a machine cannot be patched now
description:
  - Asks the package database, the space on disk, the clock and other package runs. Changes nothing.
options:
  free:
    description: Megabytes that must be free, by directory. One that does not exist is passed over.
    type: dict
    default: {}
  now:
    description: What the time is, in seconds since 1970, by the clock of whoever patches.
    type: float
    required: true
  clock_tolerance:
    description: Seconds by which the machine's clock may differ.
    type: int
    default: 300
  lock_timeout:
    description: Seconds to wait for another package run to end.
    type: int
    default: 300
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look whether the machine can be patched
  hybrid.platform.patch_preflight:
    free: {/: 500, /boot: 100}
    now: "{{ now().timestamp() }}"
"""

RETURN = r"""
faults:
  description: Why it cannot, a line a fault; empty where it can.
  returned: always
  type: list
  elements: str
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.locks import lock_faults


def space_faults(wanted, free_of):
    faults = []
    for directory, megabytes in wanted.items():
        free = free_of(directory)
        if free is not None and free < int(megabytes):
            faults.append(f"{directory} has {free} MB free, {megabytes} MB are needed")
    return faults


def free_megabytes(directory):
    if not os.path.isdir(directory):
        return None
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize // 2**20


def database_faults(module):
    audit = module.run_command(["dpkg", "--audit"])[1].strip()
    faults = ["packages are half installed: " + " ".join(audit.split())] if audit else []
    code, out, err = module.run_command(["apt-get", "check", "-qq"])
    return faults + ([f"dependencies are broken: {(err or out).strip()}"] if code else [])


def main():
    module = AnsibleModule(
        argument_spec={
            "free": {"type": "dict", "default": {}},
            "now": {"type": "float", "required": True},
            "clock_tolerance": {"type": "int", "default": 300},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    # First, before a wait for locks makes the difference meaningless.
    off = time.time() - parameters["now"]
    faults = []
    if abs(off) > parameters["clock_tolerance"]:
        faults.append(f"the clock is {round(off)} seconds off")
    faults += space_faults(parameters["free"], free_megabytes)
    locked = lock_faults(parameters["lock_timeout"])
    faults += locked or database_faults(module)
    module.exit_json(changed=False, faults=faults)


if __name__ == "__main__":
    main()
