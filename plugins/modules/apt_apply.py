#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Bring chosen packages to chosen versions, without a question and without touching others' holds."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_apply
short_description: Bring chosen packages to chosen versions
description:
  - Never prompts; keeps changed configuration files; waits for another package run up to a limit.
  - Packages of O(keep) stay at their version for this run by a preference of its own, also where another package would
    draw them along. Holds are neither set nor taken away.
options:
  packages:
    description: Packages with their versions, as C(name=version).
    type: list
    elements: str
    required: true
  keep:
    description: Names of packages that stay as they are.
    type: list
    elements: str
    default: []
  download_only:
    description: Whether to fetch only, which proves that everything can be had before anything changes.
    type: bool
    default: false
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

import os
import re
import tempfile

from ansible.module_utils.basic import AnsibleModule

QUIET = {
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "APT_LISTBUGS_FRONTEND": "none",
    # The role restarts services itself, after the last package and not between two of them.
    "NEEDRESTART_SUSPEND": "1",
    "NEEDRESTART_MODE": "l",
    "UCF_FORCE_CONFFOLD": "1",
    "LC_ALL": "C.UTF-8",
}
OPTIONS = ("Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold", "APT::Get::Assume-Yes=true")


def preferences(keep, versions, present):
    """Preferences that keep packages at their installed versions, after those that the machine has already."""
    kept = [
        f"Package: {name}\nPin: version {versions[name]}\nPin-Priority: 1001\n" for name in keep if name in versions
    ]
    return "\n".join([*filter(None, [present]), *kept])


def why(out, err):
    """What apt says is wrong; it names unmet dependencies apart from its errors."""
    unmet = re.findall(r"^ +(\S+ : .+)$", out, re.MULTILINE)
    return " ".join("; ".join([*unmet, err]).split()) or out.strip()


def installed_versions(module, names):
    if not names:
        return {}
    listing = module.run_command(["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *names])[1]
    return dict(line.split() for line in listing.splitlines() if len(line.split()) == 2)


def main():
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "keep": {"type": "list", "elements": "str", "default": []},
            "download_only": {"type": "bool", "default": False},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    packages = module.params["packages"]
    if not packages or module.check_mode:
        module.exit_json(changed=bool(packages) and not module.params["download_only"], output="")

    present = ""
    if os.path.exists("/etc/apt/preferences"):
        with open("/etc/apt/preferences") as stream:
            present = stream.read()
    keep = module.params["keep"]
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, suffix=".pref") as file:
        file.write(preferences(keep, installed_versions(module, keep), present))
        file.flush()
        os.chmod(file.name, 0o644)
        command = ["apt-get", "install", "--only-upgrade", "--no-remove"]
        command += ["--download-only"] if module.params["download_only"] else []
        for option in (*OPTIONS, f"DPkg::Lock::Timeout={module.params['lock_timeout']}"):
            command += ["-o", option]
        command += ["-o", f"Dir::Etc::preferences={file.name}", *packages]
        code, out, err = module.run_command(command, environ_update=QUIET)
    if code:
        module.fail_json(msg=f"apt failed: {why(out, err)}", output=out)
    module.exit_json(changed=not module.params["download_only"], output=out)


if __name__ == "__main__":
    main()
