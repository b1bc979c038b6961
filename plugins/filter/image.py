# Apache-2.0 (see LICENSE)
"""What stands beside a golden image: its manifest and its bill of materials."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import uuid
from datetime import UTC
from typing import Any
from urllib.parse import quote

from ansible.errors import AnsibleFilterError

FIELDS = ("name", "version", "architecture", "source", "source_version")
_SPECIAL = re.compile(r"\*\*/|\*|\[!|[.+?^$(){}|\\]")
_MEANS = {"**/": "(.*/)?", "*": "[^/]*", "[!": "[^"}


def dpkg_packages(listing: str) -> list[dict[str, str]]:
    """Packages by name, from dpkg-query's tab-separated name, version, architecture, source and its version."""
    packages = []
    for line in filter(None, listing.splitlines()):
        values = line.split("\t")
        if len(values) != len(FIELDS):
            raise AnsibleFilterError(f"not a line of a package list: {line!r}")
        packages.append(dict(zip(FIELDS, values, strict=True)))
    return sorted(packages, key=lambda package: (package["name"], package["architecture"]))


def image_manifest(
    packages: list[dict[str, str]],
    name: str,
    release: str,
    now: float,
    lifetime_days: int,
    before: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of an image; `now` in seconds since 1970.

    Args:
        before: what the image said of itself until now. With the same packages it is still the image that was built
            then, and does not get any younger by being sealed again.
    """
    manifest: dict[str, Any] = {"name": name, "release": release, "packages_digest": _digest(packages)}
    before = before or {}
    same = all(before.get(key) == value for key, value in manifest.items())
    built = datetime.datetime.fromisoformat(before["built"]) if same else datetime.datetime.fromtimestamp(int(now), UTC)
    expires = built + datetime.timedelta(days=lifetime_days)
    return {**manifest, "built": built.isoformat(), "expires": expires.isoformat(), "packages": packages}


def _digest(packages: list[dict[str, str]]) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(packages, sort_keys=True).encode()).hexdigest()


def image_label(manifest: dict[str, Any]) -> dict[str, Any]:
    """What an image says of itself to the machines that start from it: the manifest without the packages."""
    return {key: value for key, value in manifest.items() if key != "packages"}


def package_url(package: dict[str, str], release: str) -> str:
    name = package["name"].partition(":")[0]
    vendor = release.partition("-")[0]
    version = quote(package["version"], safe=".+-~")
    return f"pkg:deb/{vendor}/{quote(name, safe='')}@{version}?arch={package['architecture']}&distro={quote(release)}"


def cyclonedx(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest as a CycloneDX 1.6 bill of materials."""
    components = []
    for package in manifest["packages"]:
        url = package_url(package, manifest["release"])
        components.append(
            {
                "type": "library",
                "bom-ref": url,
                "name": package["name"].partition(":")[0],
                "version": package["version"],
                "purl": url,
                "properties": [
                    {"name": "debian:source", "value": package["source"]},
                    {"name": "debian:source-version", "value": package["source_version"]},
                ],
            }
        )
    # The same image gets the same serial number, so that a bill can be told from another image's.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"golden-image:{manifest['name']}:{manifest['built']}")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "timestamp": manifest["built"],
            "component": {
                "type": "operating-system",
                "bom-ref": manifest["name"],
                "name": manifest["name"],
                "version": manifest["release"],
            },
        },
        "components": components,
    }


def cve_list(manifest: dict[str, Any], still_open: dict[str, Any], fixed: dict[str, Any]) -> dict[str, Any]:
    """What the modules open_cves and fixed_cves found, with the image that it is about."""
    return {"image": manifest["name"], "built": manifest["built"], "open": still_open, "fixed": fixed}


def hygiene_lines(patterns: list[str]) -> str:
    """A regular expression of grep -E for the lines of hygiene.sh that tell of these paths, or of what is below them.

    Args:
        patterns: shell patterns, as image_seal takes them.
    """
    paths = [re.sub("^~root/", "/root/", pattern) for pattern in patterns]
    return f"^[a-z_]+: ({'|'.join(_SPECIAL.sub(_regular, path) for path in paths)})([/: ]|$)"


def _regular(special: re.Match[str]) -> str:
    if special[0] == "*" and special.string[special.start() - 1] == "/":
        return "([^/.][^/]*)?"  # as in a shell, hidden names need a pattern with a dot
    return _MEANS.get(special[0], "\\" + special[0])


class FilterModule:
    """Filters of the golden_image role."""

    def filters(self) -> dict[str, Any]:
        return {
            "dpkg_packages": dpkg_packages,
            "image_manifest": image_manifest,
            "image_label": image_label,
            "cyclonedx": cyclonedx,
            "cve_list": cve_list,
            "hygiene_lines": hygiene_lines,
        }
