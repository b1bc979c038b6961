#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell what patching must know of a machine before and after: packages, holds, services, what needs a restart."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patch_state
short_description: Tell packages, holds, running services, and what needs a restart or a reboot
description:
  - Changes nothing.
options:
  never_restart:
    description: Shell patterns of services that must not be restarted; they ask for a reboot instead.
    type: list
    elements: str
    default: []
  booted:
    description: Whether an init system runs. In a chroot packages and holds are all that there is to tell.
    type: bool
    default: true
  pause:
    description: Seconds to wait first, in which a service that was started may fall over.
    type: int
    default: 0
  lock_timeout:
    description: Seconds to wait for another package run to end, before looking.
    type: int
    default: 0
  stood:
    description: What stood or ran before, so that RV(unneeded) and RV(called) tell of it.
    type: list
    elements: str
    default: []
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Remember how it was
  hybrid.platform.patch_state:
  register: before
"""

RETURN = r"""
packages:
  description: Version of each installed package.
  returned: always
  type: dict
holds:
  description: Packages that are held.
  returned: always
  type: list
  elements: str
running:
  description: Services that run, but for what a timer starts, which ends by itself, and for RV(called).
  returned: always
  type: list
  elements: str
standing:
  description:
    - Sockets, timers, paths, mounts, and services that are active without a process.
    - Without those that come and go with others (static, transient, mounted by hand or by automount).
  returned: always
  type: list
  elements: str
called:
  description:
    - Services, also of O(stood), that only a caller starts; after a reboot none of them runs until somebody calls.
    - An instance for a connection to a socket, and what the bus activates and no other unit wants.
  returned: always
  type: list
  elements: str
unneeded:
  description: Those of O(stood) that their own conditions have kept from starting, as what only a first boot needs.
  returned: always
  type: list
  elements: str
failed_units:
  description: Units of any kind that have failed.
  returned: always
  type: list
  elements: str
restart:
  description: Services that run on files which are gone, or on unit files which have changed.
  returned: always
  type: list
  elements: str
locked:
  description: Other package runs that are still under way, a line for each of their locks.
  returned: always
  type: list
  elements: str
reboot:
  description: Reasons for a reboot; empty where none is needed.
  returned: always
  type: list
  elements: str
"""

import fnmatch
import functools
import glob
import os
import re
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.locks import lock_faults

MAPPED = re.compile(r" r-xp .* (/(?:usr/)?(?:lib|lib64|bin|sbin|libexec|local|opt)/.+) \(deleted\)$", re.MULTILINE)
PROC = "/proc"
# UnitFileState of what nobody has written down (mounts of container engines and logins, systemd-run's units), or what
# others pull in while they need it (file systems of the kernel, an interface that was plugged in).
PASSING = ("", "transient", "static", "indirect")
ASKED = (
    "Id",
    "NeedDaemonReload",
    "TriggeredBy",
    "UnitFileState",
    "ConditionResult",
    "ConditionTimestampMonotonic",
    "Accept",
    "BusName",
    "WantedBy",
    "RequiredBy",
)
SERVICE = re.compile(r"/([^/]+\.service)(?:/|$)", re.MULTILINE)


def output(module, *command):
    return module.run_command(list(command))[1]


def units(module, *selection):
    """Units by name, with what they do in their own words: running, exited, listening..."""
    listing = output(module, "systemctl", "list-units", "--plain", "--no-legend", *selection)
    return {line.split()[0]: line.split()[3] for line in listing.splitlines() if line}


def has_lost_files(maps):
    """Whether a process runs code from files that an update has replaced."""
    return MAPPED.search(maps) is not None


def service_of(cgroup):
    """The system service of a process, or None; what a user runs is not the role's to restart."""
    if "/user.slice/" in cgroup:
        return None
    found = SERVICE.search(cgroup)
    return found[1] if found else None


def named_by_needrestart(listing):
    """Services in needrestart's batch output; it also sees interpreters whose scripts have been replaced."""
    return set(re.findall(r"^NEEDRESTART-SVC: (\S+\.service)$", listing, re.MULTILINE))


def sort_out(services, never_restart):
    """Services to restart, and those whose restart would end logins."""
    never = {name for name in services for pattern in never_restart if fnmatch.fnmatchcase(name, pattern)}
    return sorted(services - never), sorted(never)


def read(path):
    try:
        with open(path, errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def is_guest(directory):
    """Whether a process lives in a container, whose services are named as the machine's own."""
    try:
        return os.readlink(f"{directory}/ns/pid") != os.readlink(f"{PROC}/self/ns/pid")
    except OSError:
        return True  # it has ended


def stale_processes():
    """Services of processes with lost files; and whether PID 1 is one."""
    services, first = set(), False
    for maps in glob.glob(f"{PROC}/[0-9]*/maps"):
        directory = os.path.dirname(maps)
        if not has_lost_files(read(maps)) or is_guest(directory):
            continue
        if directory == f"{PROC}/1":
            first = True
        services.add(service_of(read(f"{directory}/cgroup")))
    return services - {None}, first


def compare(one, other):
    """As dpkg orders versions."""
    if one == other:
        return 0
    return -1 if subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0 else 1


def newest_kernel(names, running):
    """The newest version of the flavour that runs, which another one's would never replace."""

    def flavour(version):
        return re.sub(r"^[^-]+-(\d[^-]*-)?", "", version)

    versions = [name[len("vmlinuz-") :] for name in names]
    versions = [version for version in versions if flavour(version) == flavour(running)]
    return max(versions, key=functools.cmp_to_key(compare), default=None)


def rebuilt_kernel(running, said, packages):
    """The installed build of the kernel that runs, where it is another one; Debian's kernels say theirs."""
    build = re.search(r"\bDebian (\S+)", said)
    installed = packages.get(f"linux-image-{running}")
    return installed if build and installed not in (None, build[1]) else None


def reboot_reasons(container, first_is_stale, kernels, running_kernel, flagged_by, unrestartable):
    reasons = []
    if os.path.exists("/run/reboot-required"):
        reasons.append("packages ask for it" + (f": {', '.join(flagged_by)}" if flagged_by else ""))
    newest = None if container else newest_kernel(kernels, running_kernel)
    if newest and compare(newest, running_kernel) > 0:
        reasons.append(f"kernel {newest} is installed, {running_kernel} runs")
    if first_is_stale:
        reasons.append("the init system runs on files that are gone")
    reasons += [f"{service} runs on what has been replaced and must not be restarted" for service in unrestartable]
    return reasons


def properties(module, names):
    """What systemd tells of units, by name."""
    if not names:
        return {}
    # After the dashes, for the mount of the root is called by one.
    command = ["systemctl", "show", f"--property={','.join(ASKED)}", "--", *sorted(names)]
    blocks = output(module, *command).split("\n\n")
    told = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in blocks]
    return {one["Id"]: one for one in told if "Id" in one}


def is_standing(told):
    """Whether a unit without a process has to be there as long as the machine is up."""
    triggers = told.get("TriggeredBy", "")
    return told.get("UnitFileState", "") not in PASSING and ".automount" not in triggers and ".timer" not in triggers


def is_connection(name, known):
    """Whether a service is the instance that a socket has started, or had, for one of its connections."""
    template, instance, _ = name.partition("@")
    return bool(instance) and known.get(f"{template}.socket", {}).get("Accept") == "yes"


def is_activated(told):
    """Whether nothing but the bus starts a service."""
    wanted = told.get("WantedBy") or told.get("RequiredBy")
    return told.get("UnitFileState") == "static" and bool(told.get("BusName")) and not wanted


def is_unneeded(told):
    """Whether a unit was to start, and its conditions were not met."""
    return told.get("ConditionResult") == "no" and told.get("ConditionTimestampMonotonic", "0") != "0"


def state_of_services(module, packages):
    """Everything that there is to tell only where an init system runs."""
    active = units(module, "--type=service,socket,timer,path,mount,automount", "--state=active")
    running = {name for name, how in active.items() if name.endswith(".service") and how == "running"}
    gone = set(module.params["stood"]) - active.keys()
    stale, first_is_stale = stale_processes()
    if module.get_bin_path("needrestart"):
        stale |= named_by_needrestart(output(module, "needrestart", "-b", "-l", "-r", "l")) & running
    known = properties(module, active.keys() | stale | gone)
    jobs = {name for name, one in known.items() if ".timer" in one.get("TriggeredBy", "")}
    connections = {name for name in known if is_connection(name, known)}
    called = connections | {name for name, one in known.items() if is_activated(one)}
    reload = {name for name in running if known.get(name, {}).get("NeedDaemonReload") == "yes"}
    restart, never = sort_out((stale | reload) - jobs - connections, module.params["never_restart"])
    container = output(module, "systemd-detect-virt", "--container").strip() not in ("", "none")
    reasons = reboot_reasons(
        container,
        first_is_stale,
        [os.path.basename(path) for path in glob.glob("/boot/vmlinuz-*")],
        os.uname().release,
        sorted(set(read("/run/reboot-required.pkgs").split())),
        never,
    )
    rebuilt = None if container else rebuilt_kernel(os.uname().release, os.uname().version, packages)
    if rebuilt:
        reasons.append(f"build {rebuilt} of the kernel is installed, another one runs")
    return {
        "running": sorted(running - jobs - called),
        "called": sorted(called),
        "standing": sorted(name for name in active.keys() - running if is_standing(known.get(name, {}))),
        "unneeded": sorted(name for name in gone if is_unneeded(known.get(name, {}))),
        "failed_units": sorted(units(module, "--state=failed")),
        "restart": restart,
        "reload": sorted(reload),
        "reboot": reasons,
    }


def main():
    module = AnsibleModule(
        argument_spec={
            "never_restart": {"type": "list", "elements": "str", "default": []},
            "booted": {"type": "bool", "default": True},
            "pause": {"type": "int", "default": 0},
            "lock_timeout": {"type": "int", "default": 0},
            "stood": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    time.sleep(module.params["pause"])
    locked = lock_faults(module.params["lock_timeout"])
    listing = output(
        module,
        "dpkg-query",
        "--show",
        "--showformat=${db:Status-Status} ${db:Status-Want} ${binary:Package} ${Version}\\n",
    )
    rows = [line.split(" ") for line in listing.splitlines()]
    packages = {row[2]: row[3] for row in rows if row[0] == "installed"}
    kinds = ("running", "standing", "called", "unneeded", "failed_units", "restart", "reload", "reboot")
    nothing = {kind: [] for kind in kinds}
    module.exit_json(
        changed=False,
        packages=packages,
        holds=sorted(row[2] for row in rows if row[1] == "hold"),
        locked=locked,
        **(state_of_services(module, packages) if module.params["booted"] else nothing),
    )


if __name__ == "__main__":
    main()
