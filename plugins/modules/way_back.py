#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Try settings that could lock everybody out, so that they go by themselves unless somebody proves them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: way_back
short_description: Take changed settings back unless they are proved in time
description:
  - The former settings wait in C(<path>.former), beside the file, so that taking them back is one rename and needs no
    space. As long as that file is there nobody has proved the settings, whichever run wrote them.
  - A service takes them back when the timer fires, and before the daemon starts at the next boot.
  - The caller saves, writes the file, arms, has the daemon use it, opens a new connection, and keeps.
options:
  path:
    description: The file with the settings.
    type: path
    required: true
  unit:
    description: Name of the timer and of the service that takes the settings back.
    type: str
    required: true
  state:
    description:
      - V(saved) copies the file, unless former settings wait already - those are the ones that were proved.
      - V(armed) has the timer count from now.
      - V(kept) stops it and removes the former settings. It fails if they came back meanwhile.
    type: str
    choices: [saved, armed, kept]
    required: true
  daemon:
    description: The unit that reads the file; with V(saved).
    type: str
  then:
    description: Command that has the daemon use the former settings once they are back; with V(saved).
    type: str
  after:
    description: Seconds until the timer fires; with V(saved).
    type: int
    default: 60
author: The hybrid platform authors
attributes:
  check_mode:
    support: full
    description: Tells whether the service would be written; a trial itself changes nothing for good.
"""

EXAMPLES = r"""
- name: Save the settings that let us in
  hybrid.platform.way_back:
    path: /etc/ssh/sshd_config
    unit: sshd-revert
    state: saved
    daemon: ssh.service
    then: systemctl --no-block restart ssh.service
"""

RETURN = r"""
pending:
  description: Whether former settings had been waiting before this call, so that those in use are not proved.
  returned: always
  type: bool
"""

import os
import shutil
import time

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.changed_files import Changes, read, widen_umask, write

UNITS = "/etc/systemd/system"
# Early enough for any daemon that starts at boot, the firewall's too.
SERVICE = """\
[Unit]
Description=Take back {path}, which nobody has proved
DefaultDependencies=no
ConditionPathExists={former}
RequiresMountsFor={path}
After=local-fs.target
Before={daemon} shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/usr/bin/mv -f {former} {path}
ExecStart=-{then}

[Install]
WantedBy=sysinit.target
"""
# systemd is otherwise up to a minute late.
TIMER = """\
[Unit]
Description=Take back {path} unless it is proved in time

[Timer]
OnActiveSec={after}
AccuracySec=1s
"""


def former(path):
    return f"{path}.former"


def write_units(module, changes):
    """The service and its timer, and the service's start at boot."""
    path, unit = module.params["path"], module.params["unit"]
    values = {**module.params, "former": former(path)}
    for kind, template in (("service", SERVICE), ("timer", TIMER)):
        file = os.path.join(UNITS, f"{unit}.{kind}")
        before, after = read(file), template.format(**values).encode()
        if before != after:
            changes.add(file, before, after)
            if not module.check_mode:
                write(module, file, after)
    # What a run that was killed, or somebody since then, has left without its start at boot.
    wanted = os.path.join(UNITS, "sysinit.target.wants", f"{unit}.service")
    if not changes.paths and not os.path.islink(wanted):
        changes.add(wanted, None, b"")
    if changes.paths and not module.check_mode:
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        module.run_command(["systemctl", "enable", "--quiet", f"{unit}.service"], check_rc=True)


def save(path):
    """Copy the file in one step: whatever lies there under the name of the former settings is whole."""
    if os.path.exists(path):
        shutil.copy2(path, f"{former(path)}.new")
    else:
        open(f"{former(path)}.new", "w").close()
    os.replace(f"{former(path)}.new", former(path))


def state_of(module, unit):
    return module.run_command(["systemctl", "show", "--property=ActiveState", "--value", unit], check_rc=True)[
        1
    ].strip()


def keep(module):
    unit, waiting = module.params["unit"], former(module.params["path"])
    module.run_command(["systemctl", "stop", f"{unit}.timer"], check_rc=True)
    # One that has begun cannot be called back.
    while state_of(module, f"{unit}.service") == "activating":
        time.sleep(0.2)
    try:
        os.unlink(waiting)
    except FileNotFoundError:
        module.fail_json(msg=f"the former {module.params['path']} came back before the new one could be kept")


def main():
    widen_umask()
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "unit": {"type": "str", "required": True},
            "state": {"choices": ["saved", "armed", "kept"], "required": True},
            "daemon": {"type": "str"},
            "then": {"type": "str"},
            "after": {"type": "int", "default": 60},
        },
        required_if=[("state", "saved", ["daemon", "then"])],
        supports_check_mode=True,
    )
    changes = Changes()
    pending = os.path.exists(former(module.params["path"]))
    if module.params["state"] == "saved":
        write_units(module, changes)
        if not pending and not module.check_mode:
            save(module.params["path"])
    elif not module.check_mode:
        if module.params["state"] == "armed":
            module.run_command(["systemctl", "restart", f"{module.params['unit']}.timer"], check_rc=True)
        else:
            keep(module)
    module.exit_json(**changes.result(module), pending=pending)


if __name__ == "__main__":
    main()
