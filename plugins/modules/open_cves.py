#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Which CVEs of the installed packages are open, by Debian's security tracker."""

from __future__ import annotations

DOCUMENTATION = r"""
module: open_cves
short_description: Tell which CVEs of the installed packages are open
description:
  - Asks C(debsecan), which compares the installed packages with the data of Debian's security tracker. Where it, or the
    data, cannot be had the result is C(unknown), with the reason; it is never an empty list.
  - Changes nothing.
options:
  source:
    description: Where the tracker's data is, as C(debsecan --source) takes it; where debsecan itself looks when empty.
    type: str
    default: ""
  timeout:
    description: Seconds that asking may take.
    type: int
    default: 60
  unpack:
    description:
      - Whether debsecan is unpacked from its package for the moment where it is not installed; nothing of it stays.
    type: bool
    default: false
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look which CVEs are open
  hybrid.platform.open_cves:
  register: found
"""

RETURN = r"""
open:
  description:
    - C(status) is C(known) or C(unknown); C(reason) says why it is unknown; C(cves) has an entry for each, with C(cve),
      C(package) and C(remarks) (such as 'fixed', 'high urgency'), and is null where they are unknown.
  returned: always
  type: dict
"""

import contextlib
import glob
import os
import re
import shutil
import subprocess
import tempfile

from ansible.module_utils.basic import AnsibleModule

LINE = re.compile(r"^((?:CVE|TEMP)-\S+) (\S+)(?: \((.*)\))?$")
CODENAME = re.compile(r'^VERSION_CODENAME="?([^"\n]+)', re.MULTILINE)


class Unknown(Exception):
    """Nothing can be said; str() is the reason."""


@contextlib.contextmanager
def debsecan(unpack):
    """A debsecan to run: the one that is installed, else one that is gone afterwards."""
    if installed := shutil.which("debsecan"):
        yield installed
        return
    if not unpack:
        raise Unknown("debsecan is not installed")
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)  # apt fetches as a user of its own
        asked = subprocess.run(
            ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "debsecan"],
            cwd=directory, capture_output=True, text=True, check=False,
        )  # fmt: skip
        packages = glob.glob(f"{directory}/debsecan_*.deb")
        if not packages:
            raise Unknown(f"debsecan is not installed and cannot be had: {last_line(asked.stderr)}")
        subprocess.run(["dpkg-deb", "-x", packages[0], directory], check=True, capture_output=True)
        yield f"{directory}/usr/bin/debsecan"


def last_line(text):
    return (text.strip().splitlines() or ["it said nothing"])[-1]


def suite(os_release):
    found = CODENAME.search(os_release)
    if not found:
        raise Unknown("/etc/os-release names no release that the tracker could know")
    return found[1]


def parse(report):
    found = []
    for line in filter(None, map(str.strip, report.splitlines())):
        match = LINE.match(line)
        if not match:
            raise Unknown(f"debsecan said {line!r}")
        remarks = [word.strip() for word in (match[3] or "").split(",") if word.strip()]
        found.append({"cve": match[1], "package": match[2], "remarks": remarks})
    return sorted(found, key=lambda one: (one["cve"], one["package"]))


def open_cves(os_release, source, timeout, unpack):
    try:
        with debsecan(unpack) as program:
            # Not by its own first line: it must run by the Python that apt's module belongs to.
            command = ["/usr/bin/python3", "-B", program, "--suite", suite(os_release), "--format", "summary"]
            command += ["--source", source] if source else []
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode != 0:
            raise Unknown(f"the security tracker's data cannot be had: {last_line(done.stderr)}")
        return {"status": "known", "reason": None, "cves": parse(done.stdout)}
    except subprocess.TimeoutExpired:
        reason = f"the security tracker did not answer within {timeout} s"
    except (Unknown, OSError, subprocess.CalledProcessError) as error:
        reason = str(error)
    return {"status": "unknown", "reason": reason, "cves": None}


def main():
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
            "unpack": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    with open("/etc/os-release") as stream:
        module.exit_json(changed=False, open=open_cves(stream.read(), **module.params))


if __name__ == "__main__":
    main()
