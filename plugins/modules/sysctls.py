#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Set kernel parameters on disk and in the running kernel, in one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sysctls
short_description: Set kernel parameters on disk and, where possible, in the running kernel
description:
  - Sets each parameter whose running value differs, and writes one file for C(sysctl.d).
  - Fails before anything is set or written where a file that is read later would give another value at the next boot.
  - A value that the kernel does not take is a failure, and is not written.
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
      - A null leaves a parameter alone; true and false are 1 and 0.
    type: dict
    required: true
  ignored:
    description: Names of files in C(sysctl.d) that the caller makes go quiet, so that they do not count.
    type: list
    elements: str
    default: []
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
changed_paths:
  description: The file, where it was, or in check mode would be, changed.
  returned: always
  type: list
  elements: str
set:
  description: Parameters whose running value was, or in check mode would be, changed.
  returned: always
  type: list
  elements: str
impossible:
  description: The reason for each parameter that this machine cannot set.
  returned: always
  type: dict
"""

import errno
import glob
import os

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.changed_files import Changes, read, widen_umask, write

# Where systemd-sysctl looks beside the file's own directory; a name that was seen already counts no more.
ELSEWHERE = ("/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")

# Until the next boot the kernel does not come back from these; it calls every other value an invalid one.
LOCKED = {"kernel/kexec_load_disabled": "1", "kernel/modules_disabled": "1", "kernel/yama/ptrace_scope": "3"}


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


def others(path, ignored):
    """The files that systemd-sysctl reads beside this one, by name, in its order."""
    found = {}
    for directory in (os.path.dirname(path), *ELSEWHERE):
        for file in glob.glob(os.path.join(directory, "*.conf")):
            found.setdefault(os.path.basename(file), file)
    return {name: found[name] for name in sorted(found) if name not in (os.path.basename(path), *ignored)}


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


def overruled(files, wanted):
    """What one of the files sets to another value; a null, which leaves it alone, minds nothing."""
    found = {}
    for file in files:
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
    """Bring the running kernel to the value; return (changed, reason why not). A wrong value raises ValueError."""
    try:
        before = running_value(proc, name)
    except FileNotFoundError:
        return False, "this kernel does not have it"
    except OSError as error:
        return False, error.strerror
    if before == value:
        return False, None
    if LOCKED.get(location("", name)) == before:
        return False, f"it is locked until the next boot (the value is {before})"
    if not os.access(location(proc, name), os.W_OK):
        return False, f"it is read-only here (the value is {before})"
    if pretend:
        return True, None
    try:
        with open(location(proc, name), "w") as stream:
            stream.write(value)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ERANGE):
            raise ValueError(f"the kernel does not take {value} (the value is {before})") from error
        return False, f"{error.strerror} (the value is {before})"
    return True, None


def main():
    widen_umask()
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "comment": {"type": "str", "default": "Managed by Ansible."},
            "parameters": {"type": "dict", "required": True},
            "ignored": {"type": "list", "elements": "str", "default": []},
            "running": {"type": "bool", "default": True},
            "strict": {"type": "bool", "default": False},
            "proc": {"type": "path", "default": "/proc/sys"},
        },
        supports_check_mode=True,
    )
    given = module.params["parameters"].items()
    numbers = {name: int(value) if isinstance(value, bool) else value for name, value in given}
    wanted = {name: None if value is None else " ".join(str(value).split()) for name, value in numbers.items()}
    path, proc = module.params["path"], module.params["proc"]
    files = others(path, module.params["ignored"])
    last_words = overruled([file for name, file in files.items() if name > os.path.basename(path)], wanted)
    if last_words:
        told = "; ".join(f"{name}: {word}" for name, word in sorted(last_words.items()))
        advice = "Take the lines out there, or name these values among the parameters."
        module.fail_json(msg=f"At the next boot these would not hold: {told}. {advice}")

    was_set, impossible, faults = [], {}, {}
    if module.params["running"]:
        elsewhere = {name for file in files.values() for name in assignments(file)}
        for name, value in sorted(expand(proc, wanted, elsewhere).items(), key=order):
            try:
                changed, reason = set_running(proc, name, value, module.check_mode)
            except ValueError as fault:
                faults[name] = str(fault)
                continue
            if changed:
                was_set.append(name)
            if reason:
                impossible[name] = reason
    if module.params["strict"]:
        faults |= impossible
    if faults:
        told = "; ".join(f"{name}: {reason}" for name, reason in sorted(faults.items()))
        module.fail_json(msg=f"cannot set {told}", set=was_set, impossible=impossible)

    lines = [
        f"# {module.params['comment']}",
        *(f"-{name}" if value is None else f"{name} = {value}" for name, value in sorted(wanted.items(), key=order)),
    ]
    content = "\n".join([*lines, ""]).encode()
    changes = Changes()
    if (before := read(path)) != content:
        changes.add(path, before, content)
        if not module.check_mode:
            write(module, path, content)
    told = changes.result(module)
    told["changed"] |= bool(was_set)
    module.exit_json(set=was_set, impossible=impossible, **told)


if __name__ == "__main__":
    main()
