# Apache-2.0 (see LICENSE)
"""Where Debian's packages keep their changelogs, and the CVEs that these name."""

from __future__ import annotations

import re

CVE = re.compile(r"CVE-\d{4}-\d{4,}")
ENTRY = re.compile(r"^\S+ \(([^)]+)\) [^;]*;", re.MULTILINE)


def changelog_paths(package):
    """Below the root directory, the best one first; a native package has only the second."""
    return [f"usr/share/doc/{package}/{name}" for name in ("changelog.Debian.gz", "changelog.gz")]


def cves_in(text):
    return sorted(set(CVE.findall(text)))


def cves_between(changelog, old, is_newer):
    """The CVEs named in the entries that are newer than the old version; the newest entry stands first."""
    headers = list(ENTRY.finditer(changelog))
    end = next((header.start() for header in headers if not is_newer(header[1], old)), len(changelog))
    return cves_in(changelog[:end])
