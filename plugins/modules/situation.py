#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell in which situation a role finds its machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: situation
short_description: Tell whether the machine runs, in what, and what its kernel offers
description:
  - What a role must know to work alike on a live machine, in a container and in a chroot. Changes nothing.
options:
  packages:
    description: Packages of which to tell whether they are installed.
    type: list
    elements: str
    default: []
  read:
    description: Files of which to return the text, in the same call; a shell pattern stands for those that it matches.
    type: list
    elements: path
    default: []
  match:
    description: Shell patterns of which to return what they match.
    type: list
    elements: path
    default: []
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look where we are
  hybrid.platform.situation:
  register: situation
"""

RETURN = r"""
booted:
  description: Whether an init system runs services here; false in a chroot.
  returned: always
  type: bool
container:
  description: The kind of container, or an empty string where the kernel is the machine's own (or the chroot's host's).
  returned: always
  type: str
apparmor:
  description: Whether the kernel enforces AppArmor and this machine may load profiles.
  returned: always
  type: bool
audit:
  description: Whether the kernel's audit service can be used from here.
  returned: always
  type: bool
installed:
  description: Those of O(packages) that are installed.
  returned: always
  type: list
  elements: str
texts:
  description: The text of each file of O(read); empty where there is no such file.
  returned: always
  type: dict
passes_on:
  description:
    - For whom the machine passes packets on, by the kernel parameter that lets it, as Docker, libvirt, VPNs and
      routers need it; nothing where it does not run.
    - A container may have ip_forward from its host, so it takes an interface there to count.
  returned: always
  type: dict
matches:
  description: The paths that each of O(match) matches.
  returned: always
  type: dict
distribution:
  description: The ID of os-release.
  returned: always
  type: str
version:
  description: The VERSION_ID of os-release.
  returned: always
  type: str
"""

import glob
import os
import socket

from ansible.module_utils.basic import AnsibleModule

CAP_AUDIT_CONTROL = 30
CAP_MAC_ADMIN = 33
NETLINK_AUDIT = 9

FORWARDING = {
    "net.ipv4.ip_forward": "/proc/sys/net/ipv4/ip_forward",
    "net.ipv6.conf.all.forwarding": "/proc/sys/net/ipv6/conf/all/forwarding",
}
FORWARDING_INTERFACES = ("/sys/class/net/*/bridge", "/sys/class/net/*/tun_flags", "/sys/class/net/wg*")


def os_release():
    values = {}
    with open("/etc/os-release") as stream:
        for line in stream:
            name, separator, value = line.strip().partition("=")
            if separator:
                values[name] = value.strip('"')
    return values


def may(capability):
    """Whether this process, and so any root service, has the capability."""
    with open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def audit_answers():
    if not may(CAP_AUDIT_CONTROL):
        return False
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT).close()
    except OSError:
        return False
    return True


def installed(module, packages):
    """dpkg-query fails as soon as one is unknown, and still tells of the others."""
    if not packages or not module.get_bin_path("dpkg-query"):
        return []
    command = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n", *packages]
    lines = module.run_command(command)[1].splitlines()
    return sorted({line.split()[0] for line in lines if line.endswith(" installed")})


def text(path):
    try:
        with open(path, errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def passes_on(booted, container):
    interfaces = sorted(path for pattern in FORWARDING_INTERFACES for path in glob.glob(pattern))
    found = {}
    for parameter, path in FORWARDING.items():
        is_on = booted and text(path).strip() == "1"
        may_be_the_hosts = container and parameter == "net.ipv4.ip_forward"
        found[parameter] = (interfaces or ([] if may_be_the_hosts else [f"{parameter} is 1"])) if is_on else []
    return found


def main():
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "read": {"type": "list", "elements": "path", "default": []},
            "match": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    systemctl = module.get_bin_path("systemctl")
    state = module.run_command([systemctl, "is-system-running"])[1].strip() if systemctl else ""
    booted = state not in ("", "offline", "unknown")
    container = module.run_command(["systemd-detect-virt", "--container"])[1].strip() if booted else ""
    container = "" if container == "none" else container
    release = os_release()
    module.exit_json(
        changed=False,
        booted=booted,
        container=container,
        apparmor=booted and os.path.isdir("/sys/kernel/security/apparmor") and may(CAP_MAC_ADMIN),
        # Audit is not namespaced: a container that could use it would write the host's rules.
        audit=booted and not container and audit_answers(),
        installed=installed(module, module.params["packages"]),
        texts={path: text(path) for one in module.params["read"] for path in glob.glob(one) or [one]},
        passes_on=passes_on(booted, container),
        matches={pattern: sorted(glob.glob(pattern)) for pattern in module.params["match"]},
        distribution=release.get("ID", ""),
        version=release.get("VERSION_ID", ""),
    )


if __name__ == "__main__":
    main()
