#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell which updates apt has for a machine, fetch those that a scope selects, and tell which CVEs they close."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_pending
short_description: Tell which updates are pending, and fetch those that a scope selects
description:
  - Refreshes apt's lists, also in check mode, because stale ones would read as nothing to do. A repository that cannot
    be reached, or that has no valid signature, is a failure.
  - Held packages, excluded ones and updates that are still being phased in are listed but never selected.
  - Fetches what is selected, so that a package which cannot be had is a failure before anything changes, and reads
    which CVEs it closes from the changelogs inside. In check mode nothing is fetched.
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
  lock_timeout:
    description: Seconds to wait for another package run.
    type: int
    default: 300
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
closed:
  description: The CVEs that each selected update closes, by package.
  returned: always
  type: dict
unread:
  description: Selected packages whose changelog could not be read, or was not fetched.
  returned: always
  type: list
  elements: str
"""

import fnmatch
import glob
import gzip
import os
import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils.apt_install import apt_install, why
from ..module_utils.changelogs import changelog_paths, cves_between


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
    """One entry for each installed package that has an update in the scope, and apt's version of it."""
    found = []
    for package in cache:
        if not package.is_installed:
            continue
        chosen = choose(parameters["scope"], package.installed, package.candidate, package.versions)
        if chosen is None:
            continue
        entry = {
            "name": package.shortname,
            "full_name": package.fullname,
            "from": package.installed.version,
            "to": chosen.version,
            "security": is_security(chosen),
            "left": why_left(package.shortname, held(package), phasing(package, chosen), parameters),
        }
        found.append((entry, chosen))
    return sorted(found, key=lambda one: one[0]["full_name"])


def package_file(archives, name, version):
    """Where the package lies: among those that apt has fetched, or in a repository of this machine, read in place."""
    if version.uri and version.uri.startswith("file:"):
        return version.uri[len("file:") :].replace("//", "/")
    escaped = version.version.replace(":", "%3a")
    return next(iter(glob.glob(os.path.join(archives, f"{name}_{glob.escape(escaped)}_*.deb"))), None)


def changelog_of(file, name):
    """The changelog inside a package, or None."""
    import apt_inst

    for path in changelog_paths(name):
        try:
            return gzip.decompress(apt_inst.DebFile(file).data.extractdata(path)).decode(errors="replace")
        except LookupError:
            continue
    return None


def main():
    module = AnsibleModule(
        argument_spec={
            "scope": {"type": "str", "choices": ["all", "security", "named"], "default": "all"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "exclude": {"type": "list", "elements": "str", "default": []},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    try:
        import apt
        import apt_pkg
    except ImportError:
        module.fail_json(msg=missing_required_lib("python3-apt"))
    wait = f"DPkg::Lock::Timeout={module.params['lock_timeout']}"
    command = ["apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any", "-o", wait]
    code, out, err = module.run_command(command)
    # apt's own waiting leaves out the lock of its lists.
    deadline = time.monotonic() + module.params["lock_timeout"]
    while code and "Could not get lock" in err and time.monotonic() < deadline:
        time.sleep(2)
        code, out, err = module.run_command(command)
    if code:
        module.fail_json(msg=f"apt cannot refresh its lists: {why(out, err)}")
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

    def is_newer(version, old):
        return apt_pkg.version_compare(version, old) > 0

    found = pending(cache, held, phasing, module.params)
    selected = [(entry, version) for entry, version in found if entry["left"] is None]
    result = {"pending": [entry for entry, _ in found], "selected": [entry for entry, _ in selected]}
    if selected and not module.check_mode:
        wanted = [f"{entry['full_name']}={entry['to']}" for entry, _ in selected]
        excluded = [entry["name"] for entry, _ in found if entry["left"] == "excluded"]
        out, fault = apt_install(module, wanted, excluded, module.params["lock_timeout"], "--download-only")
        if fault:
            module.fail_json(msg=fault, output=out, **result)

    closed, unread = {}, []
    archives = apt_pkg.config.find_dir("Dir::Cache::archives")
    for entry, version in selected:
        file = package_file(archives, entry["name"], version)
        changelog = changelog_of(file, entry["name"]) if file else None
        if changelog is None:
            unread.append(entry["name"])
        else:
            closed[entry["name"]] = cves_between(changelog, entry["from"], is_newer)
    module.exit_json(changed=False, **result, closed=closed, unread=sorted(unread))


if __name__ == "__main__":
    main()
