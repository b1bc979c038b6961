# Apache-2.0 (see LICENSE)
"""One way to have apt bring packages to chosen versions, or only fetch them."""

from __future__ import annotations

import os
import re
import tempfile

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
    # gettext follows it also under C.UTF-8, and what apt says is read.
    "LANGUAGE": "",
}
OPTIONS = (
    "Dpkg::Options::=--force-confdef",
    "Dpkg::Options::=--force-confold",
    "APT::Get::Assume-Yes=true",
    # What it says is read, and a machine may have it say more, less, or as apt 3 says it to people.
    "quiet=1",
    "APT::Get::Show-Upgraded=true",
    "APT::Get::Show-Versions=false",
    "APT::Output-Version=0",
)
PREFERENCES = "/etc/apt/preferences"
UPGRADED = re.compile(r"^The following packages will be upgraded:\n((?: .*\n)*)", re.MULTILINE)
COUNT = re.compile(r"^(\d+) upgraded, ", re.MULTILINE)


def preferences(packages, present):
    """Preferences that take packages to versions and leave all others, whatever the machine's own say after them.

    apt goes by the first pin that names a package, before what is said of all by a mere `*`; so all are named here,
    by a pattern. The priorities are the highest that there are.
    """
    made = ["Package: *:any\nPin: release a=now\nPin-Priority: 32766\n"]
    for package in packages:
        name, _, version = package.partition("=")
        made.append(f"Package: {name}\nPin: version {version}\nPin-Priority: 32767\n")
    return "\n".join([*made, present])


def why(out, err):
    """What apt says is wrong; it names unmet dependencies apart from its errors."""
    unmet = re.findall(r"^ +(\S+ : .+)$", out, re.MULTILINE)
    return " ".join("; ".join([*unmet, err]).split()) or out.strip()


def upgraded(out):
    """The packages that apt says it upgrades; it leaves out those that another package holds back."""
    found = UPGRADED.search(out)
    return set(found[1].split()) if found else set()


def is_understood(out):
    """Whether as many packages are found in what apt says as it counts itself."""
    count = COUNT.search(out)
    return count is not None and int(count[1]) == len(upgraded(out))


def apt_upgrade(module, packages, lock_timeout, *switches):
    """Bring installed packages, each as name=version, to versions, and no other one: what apt says, and its fault.

    An upgrade by preferences, and no installation by name, which would count them all as wanted by somebody, be refused
    as a whole for one that cannot be had, and draw others along.
    """
    present = ""
    if os.path.exists(PREFERENCES):
        with open(PREFERENCES) as stream:
            present = stream.read()
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, suffix=".pref") as file:
        file.write(preferences(packages, present))
        file.flush()
        os.chmod(file.name, 0o644)
        command = ["apt-get", "upgrade", "--with-new-pkgs", *switches]
        for option in (*OPTIONS, f"DPkg::Lock::Timeout={lock_timeout}", f"Dir::Etc::preferences={file.name}"):
            command += ["-o", option]
        code, out, err = module.run_command(command, environ_update=QUIET)
    if code:
        return out, f"apt failed: {why(out, err)}"
    return out, None if is_understood(out) else "what apt lists as upgraded and what it counts do not agree"
