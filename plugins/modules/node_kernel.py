#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Tell what a machine's kernel lets a Kubernetes node do."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_kernel
short_description: Tell what the kernel lets a Kubernetes node do on this machine
description:
  - A node in a system container has less than one that is a real machine. What is missing is found by asking, so that
    no setting is given up where it works. Changes nothing.
options:
  images_directory:
    description: Where containerd keeps images; its file system decides how they can be unpacked.
    type: path
    required: true
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Look what the kernel offers
  hybrid.platform.node_kernel:
    images_directory: /var/lib/containerd
  register: kernel
"""

RETURN = r"""
cgroup_version:
  description: 2 where the unified hierarchy holds the controllers, else 1.
  returned: always
  type: int
oom_scores:
  description: Whether root may lower a process's chance to be killed when memory is short.
  returned: always
  type: bool
kernel_settings:
  description: Whether the kernel's settings outside the network can be written.
  returned: always
  type: bool
keyrings:
  description: Whether the kernel's keyrings can be used; system containers usually filter them.
  returned: always
  type: bool
apparmor:
  description: Whether the kernel enforces AppArmor and profiles can be loaded.
  returned: always
  type: bool
snapshotter:
  description: How containerd can unpack images here, overlayfs where the file system allows it, else native.
  returned: always
  type: str
"""

import ctypes
import os

from ansible.module_utils.basic import AnsibleModule

KEYCTL = {"x86_64": 250, "aarch64": 219}
CAP_SYS_RESOURCE = 24
CAP_MAC_ADMIN = 33
OVERLAYFS = 0x794C7630
CGROUP2 = 0x63677270


def may(capability):
    """Whether this process, and so any root service, has the capability."""
    with open("/proc/self/status") as stream:
        mask = next(line.split()[1] for line in stream if line.startswith("CapEff:"))
    return bool(int(mask, 16) >> capability & 1)


def file_system(path):
    """The magic number of the file system that holds the path, or its nearest parent that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    # struct statfs begins with the type, as a long, on every architecture that Debian's kernel names 64-bit.
    buffer = (ctypes.c_long * 32)()
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), ctypes.byref(buffer)):
        raise OSError(ctypes.get_errno(), f"cannot ask for the file system of {path}")
    return buffer[0]


def keyrings():
    """Whether this process can name its session's keyring."""
    get_keyring_id, session, make = 0, -3, 0
    return ctypes.CDLL(None).syscall(KEYCTL[os.uname().machine], get_keyring_id, session, make) >= 0


def main():
    module = AnsibleModule(
        argument_spec={"images_directory": {"type": "path", "required": True}}, supports_check_mode=True
    )
    module.exit_json(
        changed=False,
        cgroup_version=2 if file_system("/sys/fs/cgroup") == CGROUP2 else 1,
        oom_scores=may(CAP_SYS_RESOURCE),
        kernel_settings=os.access("/proc/sys/kernel/hostname", os.W_OK),
        keyrings=keyrings(),
        apparmor=os.path.isdir("/sys/kernel/security/apparmor") and may(CAP_MAC_ADMIN),
        snapshotter="native" if file_system(module.params["images_directory"]) == OVERLAYFS else "overlayfs",
    )


if __name__ == "__main__":
    main()
