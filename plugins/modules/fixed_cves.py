#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Which CVEs the installed packages have fixed, by their changelogs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fixed_cves
short_description: Tell which CVEs the installed versions of packages have fixed
description:
  - Reads the changelogs of the installed packages, without a network. Changes nothing.
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look which CVEs are fixed
  hybrid.platform.fixed_cves:
  register: found
"""

RETURN = r"""
fixed:
  description: C(sources) has the CVEs that each source package's changelog names; C(unread) lists packages without one.
  returned: always
  type: dict
"""

import contextlib
import gzip
import subprocess

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.changelogs import changelog_paths, cves_in


def changelog(package):
    """The text of its changelog, or None."""
    for path in changelog_paths(package):
        with contextlib.suppress(OSError), gzip.open(f"/{path}", "rt", errors="replace") as file:
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
        if cves := sorted({*cves_in(text), *sources.get(source, [])}):
            sources[source] = cves
    return {"sources": sources, "unread": sorted({p for s, v, p in unread if (s, v) not in seen})}


def installed_packages():
    fields = "${db:Status-Status}\\t${Package}\\t${source:Package}\\t${source:Version}\\n"
    listing = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={fields}"], capture_output=True, text=True, check=True
    ).stdout
    return [tuple(line.split("\t")[1:]) for line in listing.splitlines() if line.startswith("installed\t")]


def main():
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    module.exit_json(changed=False, fixed=fixed_cves(installed_packages(), changelog))


if __name__ == "__main__":
    main()
