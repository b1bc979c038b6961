#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Load one nftables table so that a mistake in it cannot lock anybody out for good."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENTATION = r"""
module: nftables_table
short_description: Load one nftables table, with a timer that takes it back
description:
  - Checks the rules, writes them to a file that is read at boot and loads them in one transaction.
  - The running rules count, not the file alone. A table that somebody changed or flushed is loaded again.
  - When the file changes on a running machine, a timer on the machine restores what was there before. The caller stops
    the unit C(revert_unit) after having proved that the machine can still be reached.
options:
  table:
    description: Family and name of the table, for instance C(inet filter). Only this table is replaced.
    type: str
    required: true
  rules:
    description: The content of the file. It must replace the table and touch no other one.
    type: str
    required: true
  path:
    description: The file that is read at boot.
    type: path
    default: /etc/nftables.conf
  load:
    description: Whether to load the rules now; false for an image in the making.
    type: bool
    default: true
  revert_after:
    description: Seconds until the timer restores what was there before.
    type: int
    default: 60
  revert_unit:
    description: Name of the transient systemd unit that restores.
    type: str
    default: nftables-revert
author: The hybrid platform authors
attributes:
  check_mode:
    support: full
    description: Tells whether the file or, when the table is missing, the running rules would change.
  diff_mode:
    support: full
    description: Shows the file before and after.
"""

EXAMPLES = r"""
- name: Close the machine
  hybrid.platform.nftables_table:
    table: inet hybrid_firewall
    rules: "{{ lookup('ansible.builtin.template', 'nftables.conf.j2') }}"
  register: firewall
"""

RETURN = r"""
armed:
  description: Whether the timer runs and has to be stopped.
  type: bool
  returned: always
"""

STATE = Path("/run/nftables-table")


class Table:
    """The table as the kernel has it and as the file says it."""

    def __init__(self, run: Callable[..., tuple[int, str, str]], name: str, path: Path) -> None:
        self.run, self.name, self.path = run, name, path

    def running(self) -> str | None:
        """The table as it runs, without counters; None when there is none."""
        status, listing, _ = self.run(["nft", "--stateless", "list", "table", *self.name.split()])
        return listing if status == 0 else None

    def written(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def check(self, rules: str) -> None:
        self.run(["nft", "--check", "--file", "-"], data=rules, check_rc=True)

    def write(self, rules: str) -> None:
        scratch = self.path.with_name(f".{self.path.name}.new")
        scratch.write_text(rules)
        scratch.chmod(0o755)
        scratch.replace(self.path)

    def load(self) -> None:
        self.run(["nft", "--file", str(self.path)], check_rc=True)

    def arm(self, unit: str, seconds: int, running: str | None) -> None:
        """Have the machine itself restore what is there now, unless it is told in time that all is well."""
        STATE.mkdir(mode=0o700, exist_ok=True)
        (STATE / "previous.nft").write_text(f"table {self.name}\ndelete table {self.name}\n{running or ''}")
        file = f"rm -f '{self.path}'"
        if self.path.exists():
            shutil.copy2(self.path, STATE / "previous.conf")
            file = f"cp -p '{STATE}/previous.conf' '{self.path}'"
        restore = f"nft --file {STATE}/previous.nft; {file}"
        # A timer that is left from a run that was killed would restore something older than that.
        self.run(["systemctl", "stop", f"{unit}.timer"])
        command = ["systemd-run", "--collect", f"--unit={unit}", f"--on-active={seconds}"]
        command += ["--timer-property=AccuracySec=1s", "/bin/sh", "-c", restore]
        self.run(command, check_rc=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "table": {"type": "str", "required": True},
            "rules": {"type": "str", "required": True},
            "path": {"type": "path", "default": "/etc/nftables.conf"},
            "load": {"type": "bool", "default": True},
            "revert_after": {"type": "int", "default": 60},
            "revert_unit": {"type": "str", "default": "nftables-revert"},
        },
        supports_check_mode=True,
    )
    wanted: str = module.params["rules"]
    load: bool = module.params["load"]
    table = Table(module.run_command, module.params["table"], Path(module.params["path"]))
    table.check(wanted)

    written = table.written()
    running = table.running() if load else None
    differs = written != wanted
    changed = differs or (load and running is None)
    armed = False
    if not module.check_mode:
        if load and changed:
            table.arm(module.params["revert_unit"], module.params["revert_after"], running)
            armed = True
        if differs:
            table.write(wanted)
        if load:
            table.load()
            changed = changed or table.running() != running
    diff = {"before": written, "after": wanted, "before_header": str(table.path), "after_header": str(table.path)}
    module.exit_json(changed=changed, armed=armed, diff=diff)


if __name__ == "__main__":
    main()
