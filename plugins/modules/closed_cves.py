#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Which CVEs updates close, by the changelogs inside their packages."""

from __future__ import annotations

DOCUMENTATION = r"""
module: closed_cves
short_description: Tell which CVEs updates close, from the changelogs inside the packages
description:
  - Needs no network. Each package must have been fetched to O(archives). Changes nothing.
options:
  updates:
    description: Updates, each with C(name), C(from) and C(to).
    type: list
    elements: dict
    required: true
  archives:
    description: Where the fetched packages lie.
    type: path
    default: /var/cache/apt/archives
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look what the updates close
  hybrid.platform.closed_cves:
    updates: "{{ pending.selected }}"
"""

RETURN = r"""
closed:
  description: The CVEs that each update closes, by package.
  returned: always
  type: dict
unknown:
  description: Packages whose changelog could not be read.
  returned: always
  type: list
  elements: str
"""

import glob
import gzip
import io
import os
import re
import subprocess
import tarfile

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.changelogs import changelog_paths, cves_in

ENTRY = re.compile(r"^\S+ \(([^)]+)\) [^;]*;", re.MULTILINE)


def cves_between(changelog, old, is_newer):
    """The CVEs named in the entries that are newer than the old version; the newest entry stands first."""
    headers = list(ENTRY.finditer(changelog))
    end = next((header.start() for header in headers if not is_newer(header[1], old)), len(changelog))
    return cves_in(changelog[:end])


def package_file(archives, name, version):
    """Where the package lies: among those that apt fetched, or in a repository of this machine, read in place."""
    escaped = version.replace(":", "%3a")
    pattern = os.path.join(glob.escape(archives), f"{glob.escape(name)}_{glob.escape(escaped)}_*.deb")
    return next(iter(glob.glob(pattern)), None) or local_file(name, version)


def local_file(name, version):
    try:
        import apt
    except ImportError:
        return None
    cache = apt.Cache()
    found = cache[name].versions.get(version) if name in cache else None
    uri = found.uri if found else None
    return uri[len("file:") :].replace("//", "/") if uri and uri.startswith("file:") else None


def changelog_of(path, name):
    """The changelog inside a package, or None."""
    content = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {member.name: member for member in archive.getmembers() if member.isfile()}
        for path in changelog_paths(name):
            if f"./{path}" in members:
                return gzip.decompress(archive.extractfile(members[f"./{path}"]).read()).decode(errors="replace")
    return None


def is_newer(version, old):
    return subprocess.run(["dpkg", "--compare-versions", version, "gt", old], check=False).returncode == 0


def main():
    module = AnsibleModule(
        argument_spec={
            "updates": {"type": "list", "elements": "dict", "required": True},
            "archives": {"type": "path", "default": "/var/cache/apt/archives"},
        },
        supports_check_mode=True,
    )
    closed, unknown = {}, []
    for update in module.params["updates"]:
        path = package_file(module.params["archives"], update["name"], update["to"])
        changelog = changelog_of(path, update["name"]) if path else None
        if changelog is None:
            unknown.append(update["name"])
        else:
            closed[update["name"]] = cves_between(changelog, update["from"], is_newer)
    module.exit_json(changed=False, closed=closed, unknown=sorted(unknown))


if __name__ == "__main__":
    main()
