#!/usr/bin/python
# SPDX-License-Identifier: Apache-2.0
"""Have services run with the files that are on the disk now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: settled_services
short_description: Have systemd services enabled, running, and started after their files last changed
description:
  - Enables and starts each service, in the order given, and restarts those that were started before one of their
    files last changed.
  - A handler is lost when the play fails before it runs, and the next run is green while the service still runs
    with the old files. This asks the service itself, so a failed run is made good by the next.
options:
  services:
    description: The services, in the order in which they are to be started.
    type: list
    elements: dict
    required: true
    options:
      name:
        description: Name of the unit, with its suffix.
        type: str
        required: true
      files:
        description: Files that the service reads when it starts. The unit's own file is always one of them.
        type: list
        elements: path
        default: []
attributes:
  check_mode:
    support: full
    description: Says what would be started or restarted.
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Have the container runtime run with its present configuration
  hybrid.platform.settled_services:
    services:
      - {name: containerd.service, files: [/etc/containerd/config.toml, /usr/local/bin/containerd]}
"""

RETURN = r"""
started:
  description: Services that did not run.
  returned: always
  type: list
  elements: str
restarted:
  description: Services that ran with older files.
  returned: always
  type: list
  elements: str
"""

import datetime
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

PROPERTIES = ("ActiveState", "UnitFileState", "FragmentPath", "InactiveExitTimestamp", "NeedDaemonReload")


def parse_properties(text: str) -> dict[str, str]:
    """What `systemctl show` prints, as a mapping."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def started_at(properties: dict[str, str]) -> float:
    """When the service began to start (it reads its files after that); 0 if never."""
    stamp = properties["InactiveExitTimestamp"]
    if not stamp:
        return 0.0
    parsed = datetime.datetime.strptime(stamp, "%a %Y-%m-%d %H:%M:%S.%f %Z")
    return parsed.replace(tzinfo=datetime.UTC).timestamp()


def last_change(files: list[str]) -> float:
    """The change time, not the modification time: copies that keep the latter still show here."""
    return max((Path(file).stat().st_ctime for file in files if Path(file).exists()), default=0.0)


class Systemd:
    """The few questions and orders that are needed of systemctl."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module

    def run(self, *arguments: str) -> str:
        status, output, error = self.module.run_command(["systemctl", *arguments])
        if status != 0:
            unit = arguments[-1]
            _, log, _ = self.module.run_command(
                ["journalctl", "--no-pager", "--lines=15", "--output=cat", "--unit", unit]
            )
            self.module.fail_json(msg=f"systemctl {' '.join(arguments)}: {error.strip()}", log=log)
        return output

    def properties(self, unit: str) -> dict[str, str]:
        return parse_properties(
            self.run("show", "--timestamp=us+utc", f"--property={','.join(PROPERTIES)}", "--", unit)
        )


def main() -> None:
    specification = {
        "name": {"type": "str", "required": True},
        "files": {"type": "list", "elements": "path", "default": []},
    }
    module = AnsibleModule(
        argument_spec={"services": {"type": "list", "elements": "dict", "required": True, "options": specification}},
        supports_check_mode=True,
    )
    systemd = Systemd(module)
    enabled: list[str] = []
    started: list[str] = []
    restarted: list[str] = []
    reload_needed = False
    for service in module.params["services"]:
        unit = service["name"]
        properties = systemd.properties(unit)
        reload_needed |= properties["NeedDaemonReload"] == "yes"
        if properties["UnitFileState"] in ("disabled", ""):
            enabled.append(unit)
        if properties["ActiveState"] not in ("active", "reloading"):
            started.append(unit)
        elif last_change([*service["files"], properties["FragmentPath"]]) > started_at(properties):
            restarted.append(unit)
    if not module.check_mode:
        if reload_needed:
            systemd.run("daemon-reload")
        if enabled:
            systemd.run("enable", "--quiet", *enabled)
        for service in module.params["services"]:
            if service["name"] in started + restarted:
                systemd.run("restart", service["name"])
    module.exit_json(changed=bool(enabled or started or restarted), started=started, restarted=restarted)


if __name__ == "__main__":
    main()
