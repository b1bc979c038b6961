#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell which updates apt has for a machine, and which of them a scope selects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_pending
short_description: Tell which updates are pending, and which of them a scope selects
description:
  - Reads apt's cache and changes nothing. Refresh the cache before, or a stale one reads as nothing to do.
  - Held packages, excluded ones and updates that are still being phased in are listed but never selected.
options:
  scope:
    description:
      - V(security) selects versions that come from a security archive, also where another archive has a newer one.
      - V(named) selects O(packages) alone.
    type: str
    choices: [all, security, named]
    default: all
  packages:
    description: Shell patterns of the packages for O(scope=named).
    type: list
    elements: str
    default: []
  exclude:
    description: Shell patterns of packages that are left alone.
    type: list
    elements: str
    default: []
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look which security updates are pending
  hybrid.platform.apt_pending:
    scope: security
  register: pending
"""

RETURN = r"""
pending:
  description: Each update, with C(name), C(from), C(to), C(security) and C(left), why it is not selected.
  returned: always
  type: list
  elements: dict
selected:
  description: The entries of RV(pending) that the scope selects.
  returned: always
  type: list
  elements: dict
"""

import fnmatch

from ansible.module_utils.basic import AnsibleModule, missing_required_lib


def is_security(version):
    """Whether a version comes from a security archive of Debian or Ubuntu."""
    return any(
        origin.label == "Debian-Security" or origin.archive.endswith("-security") or "-security" in origin.codename
        for origin in version.origins
    )


def choose(scope, installed, candidate, versions):
    """The version to go to: the candidate, or for security the newest that a security archive has."""
    if scope != "security":
        return candidate if candidate is not None and candidate > installed else None
    newer = [version for version in versions if version > installed and is_security(version)]
    return max(newer, default=None)


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def why_left(name, held, phasing, parameters):
    if held:
        return "held"
    if matches(name, parameters["exclude"]):
        return "excluded"
    if phasing:
        return "phasing"
    if parameters["scope"] == "named" and not matches(name, parameters["packages"]):
        return "not named"
    return None


def pending(cache, held, phasing, parameters):
    """One entry for each installed package that has an update in the scope."""
    entries = []
    for package in cache:
        if not package.is_installed:
            continue
        chosen = choose(parameters["scope"], package.installed, package.candidate, package.versions)
        if chosen is None:
            continue
        entries.append(
            {
                "name": package.shortname,
                "full_name": package.fullname,
                "from": package.installed.version,
                "to": chosen.version,
                "security": is_security(chosen),
                "left": why_left(package.shortname, held(package), phasing(package, chosen), parameters),
            }
        )
    return sorted(entries, key=lambda entry: entry["full_name"])


def main():
    module = AnsibleModule(
        argument_spec={
            "scope": {"type": "str", "choices": ["all", "security", "named"], "default": "all"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        import apt
        import apt_pkg
    except ImportError:
        module.fail_json(msg=missing_required_lib("python3-apt"))
    cache = apt.Cache()
    depcache = cache._depcache

    def held(package):
        return package._pkg.selected_state == apt_pkg.SELSTATE_HOLD

    def phasing(package, version):
        # Named apart, because a candidate that is being phased in is not an update that is missing. At 0 % it has been
        # called back, which apt of Debian (3.0.4 was tried) would install all the same.
        if version.record.get("Phased-Update-Percentage", "100").strip() == "0":
            return True
        return hasattr(depcache, "phasing_applied") and depcache.phasing_applied(package._pkg)

    entries = pending(cache, held, phasing, module.params)
    module.exit_json(changed=False, pending=entries, selected=[entry for entry in entries if entry["left"] is None])


if __name__ == "__main__":
    main()
