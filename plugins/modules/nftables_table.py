#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Load one nftables table, and have it loaded at every boot."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ansible.module_utils.basic import AnsibleModule

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENTATION = r"""
module: nftables_table
short_description: Load one nftables table, and have it loaded at every boot
description:
  - Checks the rules, writes them to a file that is read at boot and loads them in one transaction.
  - The running rules count, not the file alone. A table that somebody changed or flushed is loaded again.
  - A file with rules of somebody else is refused, since they would be gone at the next boot.
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
"""

RETURN = "# Nothing beyond what every module returns."


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

    def is_foreign(self) -> bool:
        """Whether the file is neither ours nor, by the sum in dpkg's records, what the package brought."""
        written = self.written()
        if not written or f"delete table {self.name}" in written:
            return False
        _, conffiles, _ = self.run(["dpkg-query", "--show", "--showformat=${Conffiles}", "nftables"])
        brought = [line.split()[1] for line in conffiles.splitlines() if line.split()[:1] == [str(self.path)]]
        return hashlib.md5(written.encode(), usedforsecurity=False).hexdigest() not in brought


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "table": {"type": "str", "required": True},
            "rules": {"type": "str", "required": True},
            "path": {"type": "path", "default": "/etc/nftables.conf"},
            "load": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    wanted: str = module.params["rules"]
    load: bool = module.params["load"]
    table = Table(module.run_command, module.params["table"], Path(module.params["path"]))
    if module.check_mode and not module.get_bin_path("nft"):
        module.exit_json(changed=True)  # a check has not installed it
    table.check(wanted)
    if table.is_foreign():
        msg = (
            f"{table.path} has rules that are not of the table {table.name}; they would be gone at the next boot. "
            "Have something else load them, and remove the file."
        )
        module.fail_json(msg=msg)

    written = table.written()
    running = table.running() if load else None
    differs = written != wanted
    changed = differs or (load and running is None)
    if not module.check_mode:
        if differs:
            table.write(wanted)
        if load:
            table.load()
            changed = changed or table.running() != running
    diff = {"before": written, "after": wanted, "before_header": str(table.path), "after_header": str(table.path)}
    module.exit_json(changed=changed, **({"diff": diff} if module._diff else {}))


if __name__ == "__main__":
    main()
