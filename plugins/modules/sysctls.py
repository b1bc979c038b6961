#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Set kernel parameters on disk and in the running kernel, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctls
short_description: Set kernel parameters on disk and, where possible, in the running kernel
description:
  - Writes one file for C(sysctl.d) and sets each parameter whose running value differs.
  - A parameter that this machine cannot set (it is read-only in a container, or the kernel lacks it) is returned
    with its reason instead of failing, unless O(strict=true).
options:
  path:
    description: The file for C(sysctl.d).
    type: path
    required: true
  comment:
    description: First line of that file.
    type: str
    default: Managed by Ansible.
  parameters:
    description:
      - Name and value of each parameter.
      - A C(*) in a name stands for all interfaces, as in C(sysctl.d). What is named in full goes before it, also where
        another file of C(sysctl.d) does so.
      - A null leaves a parameter alone.
    type: dict
    required: true
  running:
    description: Whether to set the running kernel too; false in a chroot, whose kernel is the build host's.
    type: bool
    default: true
  strict:
    description: Whether a parameter that cannot be set is a failure.
    type: bool
    default: false
  proc:
    description: Where the kernel shows its parameters.
    type: path
    default: /proc/sys
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Hide kernel addresses
  hybrid.platform.sysctls:
    path: /etc/sysctl.d/90-hardening.conf
    parameters:
      kernel.kptr_restrict: 2
"""

RETURN = r"""
set:
  description: Parameters whose running value was, or in check mode would be, changed.
  returned: always
  type: list
  elements: str
overruled:
  description: The file that is read later, and the other value that it gives, by parameter.
  returned: always
  type: dict
impossible:
  description: The reason for each parameter that this machine cannot set.
  returned: always
  type: dict
"""

import glob
import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.changed_files import read, text, widen_umask, write

# Where systemd-sysctl looks beside the file's own directory; a name that was seen already counts no more.
ELSEWHERE = ("/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")


def order(parameter):
    """Forwarding first: the kernel sets other parameters of the network anew when it changes."""
    name = parameter[0]
    return not name.endswith(("ip_forward", "forwarding")), name


def location(proc, name):
    """What comes first, a dot or a slash, separates; the other one stands for a dot in an interface's name."""
    dotted = "." in name.partition("/")[0]
    return os.path.join(proc, name.translate(str.maketrans("./", "/.")) if dotted else name)


def expand(proc, wanted, elsewhere):
    """The parameters with those that have a C(*) for each that the kernel has; by the names that C(sysctl.d) takes.

    What other files name in full, `elsewhere`, is theirs: systemd-sysctl keeps it out of every C(*).
    """
    found = {}
    for name, value in wanted.items():
        if "*" in name and value is not None:
            found.update((os.path.relpath(path, proc), value) for path in glob.glob(location(proc, name)))
    named = {name: value for name, value in wanted.items() if "*" not in name}
    in_full = {location("", name) for name in named} | elsewhere
    by_star = {name: value for name, value in found.items() if name not in in_full}
    return by_star | {name: value for name, value in named.items() if value is not None}


def others(path):
    """The files that systemd-sysctl reads beside this one, by name, in its order."""
    found = {}
    for directory in (os.path.dirname(path), *ELSEWHERE):
        for file in glob.glob(os.path.join(directory, "*.conf")):
            found.setdefault(os.path.basename(file), file)
    return {name: found[name] for name in sorted(found) if name != os.path.basename(path)}


def assignments(file):
    """The parameters of a sysctl.d file, by where the kernel shows them; None for one that is left alone."""
    try:
        with open(file, errors="replace") as stream:
            lines = [line.strip() for line in stream]
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, is_set, value = line.partition("=")
        if not line.startswith(("#", ";")) and (is_set or line.startswith("-")):
            found[location("", name.lstrip("-").strip())] = " ".join(value.split()) if is_set else None
    return found


def overruled(path, wanted):
    """What a file that is read later sets to another value; a null, which leaves it alone, minds nothing."""
    found = {}
    for file in [file for name, file in others(path).items() if name > os.path.basename(path)]:
        given = assignments(file)
        for name, value in wanted.items():
            if value is not None and (last := given.get(location("", name))) is not None:
                found.pop(name, None)
                if last != value:
                    found[name] = f"{file} sets {last}"
    return found


def running_value(proc, name):
    with open(location(proc, name)) as stream:
        return " ".join(stream.read().split())


def set_running(proc, name, value, pretend):
    """Bring the running kernel to the value; return (changed, reason why it cannot be)."""
    try:
        before = running_value(proc, name)
    except FileNotFoundError:
        return False, "this kernel does not have it"
    except OSError as error:
        return False, error.strerror
    if before == value:
        return False, None
    if not os.access(location(proc, name), os.W_OK):
        return False, f"it is read-only here (the value is {before})"
    if pretend:
        return True, None
    try:
        with open(location(proc, name), "w") as stream:
            stream.write(value)
    except OSError as error:
        return False, f"{error.strerror} (the value is {before})"
    return True, None


def main():
    widen_umask()
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "comment": {"type": "str", "default": "Managed by Ansible."},
            "parameters": {"type": "dict", "required": True},
            "running": {"type": "bool", "default": True},
            "strict": {"type": "bool", "default": False},
            "proc": {"type": "path", "default": "/proc/sys"},
        },
        supports_check_mode=True,
    )
    given = module.params["parameters"].items()
    wanted = {name: None if value is None else " ".join(str(value).split()) for name, value in given}
    lines = [
        f"# {module.params['comment']}",
        *(f"-{name}" if value is None else f"{name} = {value}" for name, value in sorted(wanted.items(), key=order)),
    ]
    content = "\n".join([*lines, ""]).encode()
    path = module.params["path"]
    before = read(path)
    if before != content and not module.check_mode:
        write(module, path, content)

    was_set, impossible = [], {}
    if module.params["running"]:
        proc = module.params["proc"]
        elsewhere = {name for file in others(path).values() for name in assignments(file)}
        for name, value in sorted(expand(proc, wanted, elsewhere).items(), key=order):
            changed, reason = set_running(proc, name, value, module.check_mode)
            if changed:
                was_set.append(name)
            if reason:
                impossible[name] = reason
    if impossible and module.params["strict"]:
        faults = [f"{name}: {reason}" for name, reason in sorted(impossible.items())]
        module.fail_json(msg="cannot set " + "; ".join(faults), set=was_set, impossible=impossible)
    module.exit_json(
        changed=before != content or bool(was_set),
        set=was_set,
        impossible=impossible,
        overruled=overruled(path, wanted),
        diff={"before_header": path, "after_header": path, "before": text(before), "after": text(content)},
    )


if __name__ == "__main__":
    main()
