#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Which CVEs are known of an image's packages: the open ones from Debian's security tracker, the fixed ones offline."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_cves
short_description: Tell which CVEs of the installed packages are open, and which the installed versions have fixed
description:
  - The open ones come from Debian's security tracker by C(debsecan). Where that is not installed it is unpacked from
    its package for the moment, so that nothing of it stays in an image. Where it, or the tracker's data, cannot be had
    the result is C(unknown), with the reason; it is never an empty list.
  - The fixed ones are read from the changelogs of the installed packages, without a network.
  - Changes nothing.
options:
  suite:
    description: Code name of the release, as in C(trixie).
    type: str
    required: true
  source:
    description: Where the tracker's data is, as C(debsecan --source) takes it; Debian's own when empty.
    type: str
    default: ""
  timeout:
    description: Seconds that asking the tracker may take.
    type: int
    default: 60
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look which CVEs are known
  hybrid.platform.image_cves:
    suite: trixie
"""

RETURN = r"""
open:
  description:
    - C(status) is C(known) or C(unknown); C(reason) says why it is unknown; C(cves) has an entry for each, with C(cve),
      C(package) and C(remarks) (such as 'fixed', 'high urgency'), and is null where they are unknown.
  returned: always
  type: dict
fixed:
  description: C(sources) has the CVEs that each source package's changelog names; C(unread) lists packages without one.
  returned: always
  type: dict
"""

import contextlib
import glob
import gzip
import os
import re
import shutil
import subprocess
import tempfile

from ansible.module_utils.basic import AnsibleModule

CVE = re.compile(r"CVE-\d{4}-\d{4,}")
LINE = re.compile(r"^(CVE-\S+) (\S+)(?: \((.*)\))?$")


class Unknown(Exception):
    """Nothing can be said; str() is the reason."""


@contextlib.contextmanager
def debsecan():
    """A debsecan to run: the one that is installed, else one that is gone afterwards."""
    if installed := shutil.which("debsecan"):
        yield installed
        return
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


def parse(report):
    found = []
    for line in filter(None, map(str.strip, report.splitlines())):
        match = LINE.match(line)
        if not match:
            raise Unknown(f"debsecan said {line!r}")
        remarks = [word.strip() for word in (match[3] or "").split(",") if word.strip()]
        found.append({"cve": match[1], "package": match[2], "remarks": remarks})
    return sorted(found, key=lambda one: (one["cve"], one["package"]))


def open_cves(suite, source, timeout):
    try:
        with debsecan() as program:
            # Not by its own first line: it must run by the Python that apt's module belongs to.
            command = ["/usr/bin/python3", "-B", program, "--suite", suite, "--format", "summary"]
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


def changelog(package):
    """The text of its changelog, or None; a native package has no other one."""
    for name in ("changelog.Debian.gz", "changelog.gz"):
        with (
            contextlib.suppress(OSError),
            gzip.open(f"/usr/share/doc/{package}/{name}", "rt", errors="replace") as file,
        ):
            return file.read()
    return None


def fixed_cves(installed, changelog_of):
    """CVEs by source package; one changelog stands for all packages of the same source and version."""
    sources, unread, seen = {}, [], set()
    for package, source, version in sorted(installed):
        if (source, version) in seen:
            continue
        text = changelog_of(package)
        if text is None:
            unread.append((source, version, package))
            continue
        seen.add((source, version))
        if cves := sorted({*CVE.findall(text), *sources.get(source, [])}):
            sources[source] = cves
    return {"sources": sources, "unread": sorted({p for s, v, p in unread if (s, v) not in seen})}


def installed_packages():
    fields = "${db:Status-Status}\\t${Package}\\t${source:Package}\\t${source:Version}\\n"
    listing = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={fields}"], capture_output=True, text=True, check=True
    ).stdout
    return [tuple(line.split("\t")[1:]) for line in listing.splitlines() if line.startswith("installed\t")]


def main():
    module = AnsibleModule(
        argument_spec={
            "suite": {"type": "str", "required": True},
            "source": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    asked = module.params
    module.exit_json(
        changed=False,
        open=open_cves(asked["suite"], asked["source"], asked["timeout"]),
        fixed=fixed_cves(installed_packages(), changelog),
    )


if __name__ == "__main__":
    main()
