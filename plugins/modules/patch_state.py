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
    description: Shell patterns of services whose restart would end logins; they ask for a reboot instead.
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
  description: Services that run.
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

from ansible.module_utils.basic import AnsibleModule

MAPPED = re.compile(r" r-xp .* (/(?:usr/)?(?:lib|lib64|bin|sbin|libexec|local|opt)/.+) \(deleted\)$", re.MULTILINE)
SERVICE = re.compile(r"/([^/]+\.service)(?:/|$)", re.MULTILINE)


def output(module, *command):
    return module.run_command(list(command))[1]


def units(module, *selection):
    listing = output(module, "systemctl", "list-units", "--plain", "--no-legend", *selection)
    return sorted(line.split()[0] for line in listing.splitlines() if line)


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


def stale_processes():
    """Service, or None, of each process with lost files; and whether PID 1 is one."""
    services, first = set(), False
    for maps in glob.glob("/proc/[0-9]*/maps"):
        directory = os.path.dirname(maps)
        if not has_lost_files(read(maps)):
            continue
        if directory == "/proc/1":
            first = True
        services.add(service_of(read(os.path.join(directory, "cgroup"))))
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


def main():
    module = AnsibleModule(
        argument_spec={"never_restart": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True
    )
    listing = output(
        module,
        "dpkg-query",
        "--show",
        "--showformat=${db:Status-Status} ${db:Status-Want} ${binary:Package} ${Version}\\n",
    )
    rows = [line.split(" ") for line in listing.splitlines()]
    running = units(module, "--type=service", "--state=running")

    stale, first_is_stale = stale_processes()
    if module.get_bin_path("needrestart"):
        stale |= named_by_needrestart(output(module, "needrestart", "-b", "-l", "-r", "l")) & set(running)
    shown = output(module, "systemctl", "show", "--property=Id,NeedDaemonReload", *running) if running else ""
    reload = set()
    for block in shown.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if values.get("NeedDaemonReload") == "yes":
            reload.add(values["Id"])
    restart, never = sort_out(stale | reload, module.params["never_restart"])
    container = output(module, "systemd-detect-virt", "--container").strip() not in ("", "none")
    module.exit_json(
        changed=False,
        packages={row[2]: row[3] for row in rows if row[0] == "installed"},
        holds=sorted(row[2] for row in rows if row[1] == "hold"),
        running=running,
        failed_units=units(module, "--state=failed"),
        restart=restart,
        reload=sorted(reload),
        reboot=reboot_reasons(
            container,
            first_is_stale,
            [os.path.basename(path) for path in glob.glob("/boot/vmlinuz-*")],
            os.uname().release,
            sorted(set(read("/run/reboot-required.pkgs").split())),
            never,
        ),
    )


if __name__ == "__main__":
    main()
