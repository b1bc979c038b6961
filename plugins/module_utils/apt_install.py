# Apache-2.0 (see LICENSE)
"""One way to ask apt for packages in chosen versions, to fetch them or to install them."""

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
}
OPTIONS = ("Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold", "APT::Get::Assume-Yes=true")


def preferences(keep, versions, present):
    """Preferences that keep packages at their installed versions, after those that the machine has already."""
    kept = [
        f"Package: {name}\nPin: version {versions[name]}\nPin-Priority: 1001\n" for name in keep if name in versions
    ]
    return "\n".join([*filter(None, [present]), *kept])


def why(out, err):
    """What apt says is wrong; it names unmet dependencies apart from its errors."""
    unmet = re.findall(r"^ +(\S+ : .+)$", out, re.MULTILINE)
    return " ".join("; ".join([*unmet, err]).split()) or out.strip()


def installed_versions(module, names):
    if not names:
        return {}
    listing = module.run_command(["dpkg-query", "--show", "--showformat=${Package} ${Version}\\n", *names])[1]
    return dict(line.split() for line in listing.splitlines() if len(line.split()) == 2)


def apt_install(module, packages, keep, lock_timeout, *switches):
    """Fetch or install packages, each as name=version, while those of `keep` stay: what apt says, and its fault."""
    present = ""
    if os.path.exists("/etc/apt/preferences"):
        with open("/etc/apt/preferences") as stream:
            present = stream.read()
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, suffix=".pref") as file:
        file.write(preferences(keep, installed_versions(module, keep), present))
        file.flush()
        os.chmod(file.name, 0o644)
        command = ["apt-get", "install", "--only-upgrade", "--no-remove", *switches]
        for option in (*OPTIONS, f"DPkg::Lock::Timeout={lock_timeout}", f"Dir::Etc::preferences={file.name}"):
            command += ["-o", option]
        code, out, err = module.run_command([*command, *packages], environ_update=QUIET)
    return out, f"apt failed: {why(out, err)}" if code else None
