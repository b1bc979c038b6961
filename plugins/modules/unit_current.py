#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Restart a unit that runs on settings older than its files."""

from __future__ import annotations

DOCUMENTATION = r"""
module: unit_current
short_description: Restart or reload units that run on settings older than their configuration files
description:
  - Compares when each unit started, or was last brought up to date by this module, with the newest change of its files.
  - A unit that has failed is restarted too, and one that fails at its restart is a failure of the task.
  - A handler is lost when a play fails between a changed file and its end, and the next run is green while the daemon
    still has its old settings. This module looks at the state instead, so the next run puts it right.
options:
  units:
    description: Units, each with its files.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The unit.
        type: str
        required: true
      files:
        description: Shell patterns of files and directories from which it is configured.
        type: list
        elements: str
        required: true
      action:
        description:
          - How it takes new settings. With V(daemon-reload) systemd itself does, whose unit is C(init.scope).
        type: str
        choices: [restart, reload, daemon-reload]
        default: restart
      start:
        description: Whether a unit that does not run is started. One that does not is otherwise left alone.
        type: bool
        default: false
      enabled:
        description: Whether it is to start at every boot. One that does is otherwise left so.
        type: bool
        default: false
  running:
    description: Whether units run here; in a chroot they are enabled and nothing more.
    type: bool
    default: true
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Run the journal on its settings
  hybrid.platform.unit_current:
    units:
      - name: systemd-journald.service
        files: [/etc/systemd/journald.conf, /etc/systemd/journald.conf.d/*]
"""

RETURN = r"""
enabled:
  description: Units that were, or in check mode would be, enabled.
  returned: always
  type: list
  elements: str
renewed:
  description: Units that were, or in check mode would be, restarted, reloaded or started.
  returned: always
  type: list
  elements: str
"""

import glob
import os
import time

from ansible.module_utils.basic import AnsibleModule

STAMPS = "/run/hybrid-unit-current"
UNIT = {
    "name": {"type": "str", "required": True},
    "files": {"type": "list", "elements": "str", "required": True},
    "action": {"type": "str", "choices": ["restart", "reload", "daemon-reload"], "default": "restart"},
    "start": {"type": "bool", "default": False},
    "enabled": {"type": "bool", "default": False},
}


def newest_change(patterns):
    """When the newest of the files changed; a directory changes when a file is taken from it."""
    paths = {path for pattern in patterns for path in glob.glob(pattern)}
    paths |= {os.path.dirname(pattern) for pattern in patterns if "*" in os.path.basename(pattern)}
    return max((os.stat(path).st_ctime for path in paths if os.path.exists(path)), default=0.0)


def show(module, unit):
    properties = "--property=ActiveState,SubState,ActiveEnterTimestampMonotonic"
    _code, out, _err = module.run_command(["systemctl", "show", properties, unit], check_rc=True)
    return dict(line.split("=", 1) for line in out.splitlines())


def started(shown):
    """When the unit became active, in seconds since 1970."""
    return time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + int(shown["ActiveEnterTimestampMonotonic"]) / 1e6


def has_failed(shown):
    return shown["ActiveState"] == "failed" or shown["SubState"] == "auto-restart"


def stamp(unit):
    return os.path.join(STAMPS, unit)


def renew(module, unit, action):
    module.run_command(["systemctl", "daemon-reload"], check_rc=True)  # the files may be drop-ins of the unit itself
    if action != "daemon-reload":
        # It may have died too often to be started again.
        module.run_command(["systemctl", "reset-failed", unit["name"]])
        module.run_command(["systemctl", action, unit["name"]], check_rc=True)
    # Most kinds of service are taken for started before they have read their settings.
    if has_failed(show(module, unit["name"])):
        module.fail_json(msg=f"{unit['name']} does not run on its settings; journalctl --unit={unit['name']} tells why")
    os.makedirs(STAMPS, exist_ok=True)
    with open(stamp(unit["name"]), "w"):
        pass


def needed(module, unit):
    """What the unit needs to run on its files: restart, reload, start or nothing."""
    shown = show(module, unit["name"])
    if has_failed(shown):
        return "restart"
    if shown["ActiveState"] not in ("active", "reloading"):
        return "start" if unit["start"] else None
    since = started(shown)
    if os.path.exists(stamp(unit["name"])):
        since = max(since, os.stat(stamp(unit["name"])).st_mtime)
    return unit["action"] if newest_change(unit["files"]) > since else None


def not_enabled(module, units):
    """Those of the units that do not start at boot."""
    if not units:
        return []
    if not module.params["running"]:
        told = {unit: module.run_command(["systemctl", "is-enabled", unit])[1].strip() for unit in units}
        return [unit for unit, state in told.items() if state in ("disabled", "not-found", "")]
    _code, out, _err = module.run_command(["systemctl", "show", "--property=UnitFileState", *units], check_rc=True)
    states = [line.partition("=")[2] for line in out.splitlines() if line]
    return [unit for unit, state in zip(units, states, strict=True) if state in ("disabled", "")]


def main():
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "dict", "required": True, "options": UNIT},
            "running": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    enabled = not_enabled(module, [unit["name"] for unit in module.params["units"] if unit["enabled"]])
    if enabled and not module.check_mode:
        module.run_command(["systemctl", "enable", "--quiet", *enabled], check_rc=True)
    renewed = []
    for unit in module.params["units"] if module.params["running"] else []:
        action = needed(module, unit)
        if action is None:
            continue
        renewed.append(unit["name"])
        if not module.check_mode:
            renew(module, unit, action)
    module.exit_json(changed=bool(enabled or renewed), enabled=enabled, renewed=renewed)


if __name__ == "__main__":
    main()
