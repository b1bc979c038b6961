#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Bring chosen packages to chosen versions, without a question and without touching others' holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_apply
short_description: Bring chosen packages to chosen versions
description:
  - Never prompts; keeps changed configuration files; waits for another package run up to a limit.
  - Installs what their new versions newly depend on. All other packages stay at their versions; what needs one of them
    in another is left out, too. Holds, and what counts as automatically installed, stay as they are.
options:
  packages:
    description: Packages with their versions, as C(name=version).
    type: list
    elements: str
    required: true
  lock_timeout:
    description: Seconds to wait for another package run.
    type: int
    default: 300
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Update OpenSSL
  hybrid.platform.apt_apply:
    packages: ["openssl=3.5.7-1~deb13u3"]
"""

RETURN = r"""
output:
  description: What apt said.
  returned: always
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.apt_upgrade import apt_upgrade, upgraded


def main():
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    parameters = module.params
    if not parameters["packages"] or module.check_mode:
        module.exit_json(changed=bool(parameters["packages"]), output="")
    out, fault = apt_upgrade(module, parameters["packages"], parameters["lock_timeout"])
    if fault:
        module.fail_json(msg=fault, output=out)
    module.exit_json(changed=bool(upgraded(out)), output=out)


if __name__ == "__main__":
    main()
