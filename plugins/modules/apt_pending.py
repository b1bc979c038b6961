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
  - Held packages, excluded ones, updates that are still being phased in, those that the machine's own preferences keep
    away, and those that need a package which is not to be updated, are listed but never selected.
  - Fetches what is selected, so that a package which cannot be had is a failure before anything changes, and reads
    which CVEs it closes from the changelogs inside. In check mode nothing is fetched.
options:
  scope:
    description:
      - V(security) selects versions that come from a security archive, also where another archive has a newer one, and
        where another release is preferred for all packages; not where a pin of the package speaks against it.
      - V(named) selects O(packages), and what has to come along with them.
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
  description:
    - Each update, with C(name), C(pin) (as M(hybrid.platform.apt_apply) is asked for it), C(from), C(to), C(security)
      and C(left), why it is not selected.
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
import re
import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module

from ..module_utils.apt_upgrade import QUIET, apt_upgrade, upgraded, why
from ..module_utils.changelogs import changelog_paths, cves_between

RELEASE = re.compile(r"^(Label|Suite|Codename): (.+)$", re.MULTILINE)


def is_archive_of_security(label, archive, codename):
    """Whether an archive is Debian's or Ubuntu's for security, by its Release file."""
    return label == "Debian-Security" or archive.endswith("-security") or "-security" in codename


def is_security(version):
    return any(is_archive_of_security(one.label, one.archive, one.codename) for one in version.origins)


def repository_fault(scope, sources, releases):
    """Why finding no update would say nothing: no repository, or none of the scope's kind."""
    if not sources:
        return "apt knows no repository"
    known = [dict(RELEASE.findall(text)) for text in releases]
    if scope == "security" and not any(
        is_archive_of_security(*(one.get(field, "") for field in ("Label", "Suite", "Codename"))) for one in known
    ):
        return "apt knows no archive of security updates"
    return None


def choose(scope, installed, candidate, versions):
    """The version to go to: the candidate, or for security the newest that a security archive has."""
    if scope != "security":
        return candidate if candidate is not None and candidate > installed else None
    newer = [version for version in versions if version > installed and is_security(version)]
    return max(newer, default=None)


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def why_left(name, parameters, *, held, phasing, pinned):
    if held:
        return "held"
    if matches(name, parameters["exclude"]):
        return "excluded"
    if phasing:
        return "phasing"
    if pinned:
        return "pinned"
    if parameters["scope"] == "named" and not matches(name, parameters["packages"]):
        return "not named"
    return None


def is_phasing(package, version, applied):
    """Whether an update is still being phased in. At 0 % it has been called back.

    Args:
        applied: tells whether a package's candidate is not for this machine yet; python-apt has it since 2.7.6.
    """
    percentage = int(version.record.get("Phased-Update-Percentage", "100"))
    # apt of Debian (3.0.4 was tried) would install all the same what has been called back.
    if not 0 < percentage < 100:
        return percentage == 0
    if applied and version == package.candidate:
        return applied(package._pkg)
    return not is_security(version)


def is_pinned(version, candidate, by_archives):
    """Whether the machine's own preferences forbid a version, or keep its package at an older one.

    One that is older merely because all packages of its release are preferred (APT::Default-Release) is kept by nobody.

    Args:
        by_archives: tells which priority a version would have without pins of its package.
    """
    if version.policy_priority <= 0:
        return True
    avoided = version.policy_priority < by_archives(version)
    kept = candidate.policy_priority >= 1000 or candidate.policy_priority > by_archives(candidate)
    return candidate < version and (avoided or kept)


def pending(cache, known, parameters):
    """One entry for each installed package that has an update in the scope, and apt's version of it.

    Args:
        known: tells of a package and the version to go to what may speak against it.
    """
    found = []
    for package in cache:
        if not package.is_installed:
            continue
        chosen = choose(parameters["scope"], package.installed, package.candidate, package.versions)
        if chosen is None:
            continue
        entry = {
            "name": package.shortname,
            "pin": f"{package.name}={chosen.version}",
            "from": package.installed.version,
            "to": chosen.version,
            "security": is_security(chosen),
            "left": why_left(package.shortname, parameters, **known(package, chosen)),
        }
        found.append((entry, package, chosen))
    if parameters["scope"] == "named":
        draw_along(cache, found)
    return sorted(((entry, version) for entry, _, version in found), key=lambda one: one[0]["pin"])


def draw_along(cache, found):
    """Select also what has to be updated for the sake of packages that are named."""
    with cache.actiongroup():
        for entry, package, version in found:
            package.candidate = version if entry["left"] in (None, "not named") else package.installed
        for package in [package for entry, package, _ in found if entry["left"] is None]:
            package.mark_install(auto_fix=False, from_user=False)
        for entry, package, _ in found:
            if entry["left"] == "not named" and package.marked_upgrade:
                entry["left"] = None


def leave_held_back(wanted, upgraded):
    """Leave what apt does not upgrade, because that would change or remove a package which is to stay."""
    for entry in wanted:
        if entry["pin"].partition("=")[0] not in upgraded:
            entry["left"] = "held back"


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
            data = apt_inst.DebFile(file).data.extractdata(path)
        except LookupError:
            continue
        # Nothing is in a link to the changelog of another package.
        if data:
            return gzip.decompress(data).decode(errors="replace")
    return None


def refresh_lists(module):
    wait = f"DPkg::Lock::Timeout={module.params['lock_timeout']}"
    command = ["apt-get", "update", "-qq", "-o", "APT::Update::Error-Mode=any", "-o", wait]
    code, out, err = module.run_command(command, environ_update=QUIET)
    # apt's own waiting leaves out the lock of its lists.
    deadline = time.monotonic() + module.params["lock_timeout"]
    while code and "Could not get lock" in err and time.monotonic() < deadline:
        time.sleep(2)
        code, out, err = module.run_command(command, environ_update=QUIET)
    if code:
        module.fail_json(msg=f"apt cannot refresh its lists: {why(out, err)}")


def releases(directory):
    """The Release files of the repositories that apt knows."""
    for path in glob.glob(os.path.join(directory, "*Release")):
        with open(path, errors="replace") as stream:
            yield stream.read()


def by_systems_python(module):
    """Run by the Python that apt's module belongs to; Ansible may use one that an operator has installed."""
    interpreter = None if has_respawned() else probe_interpreters_for_module(["/usr/bin/python3"], "apt")
    if interpreter is None:
        module.fail_json(msg=missing_required_lib("python3-apt"))
    respawn_module(interpreter)


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
        by_systems_python(module)
    refresh_lists(module)
    sources = apt_pkg.SourceList()
    sources.read_main_list()
    fault = repository_fault(
        module.params["scope"], sources.list, releases(apt_pkg.config.find_dir("Dir::State::lists"))
    )
    if fault:
        module.fail_json(msg=f"{fault}, so that nothing can be said about updates")
    cache = apt.Cache()
    depcache = cache._depcache

    def by_archives(version):
        return max(depcache.policy.get_priority(file) for file, _ in version._cand.file_list)

    def known(package, version):
        return {
            "held": package._pkg.selected_state == apt_pkg.SELSTATE_HOLD,
            "phasing": is_phasing(package, version, getattr(depcache, "phasing_applied", None)),
            "pinned": is_pinned(version, package.candidate, by_archives),
        }

    def is_newer(version, old):
        return apt_pkg.version_compare(version, old) > 0

    found = pending(cache, known, module.params)
    wanted = [entry for entry, _ in found if entry["left"] is None]
    if wanted:
        how = "--simulate" if module.check_mode else "--download-only"
        out, fault = apt_upgrade(module, [entry["pin"] for entry in wanted], module.params["lock_timeout"], how)
        names = {entry["pin"].partition("=")[0] for entry in wanted}
        if beyond := sorted(upgraded(out) - names):
            fault = f"the machine's own preferences for apt would update what is to stay: {', '.join(beyond)}"
        if fault:
            module.fail_json(msg=fault, output=out, pending=[entry for entry, _ in found], selected=wanted)
        leave_held_back(wanted, upgraded(out))

    closed, unread = {}, []
    archives = apt_pkg.config.find_dir("Dir::Cache::archives")
    selected = [(entry, version) for entry, version in found if entry["left"] is None]
    for entry, version in selected:
        file = package_file(archives, entry["name"], version)
        changelog = changelog_of(file, entry["name"]) if file else None
        if changelog is None:
            unread.append(entry["name"])
        else:
            closed[entry["name"]] = cves_between(changelog, entry["from"], is_newer)
    module.exit_json(
        changed=False,
        pending=[entry for entry, _ in found],
        selected=[entry for entry, _ in selected],
        closed=closed,
        unread=sorted(unread),
    )


if __name__ == "__main__":
    main()
