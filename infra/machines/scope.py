"""A control group for one machine, on hosts whose systemd makes it.

nspawn has machined make a scope for what runs in the machine, whose devices are closed but for the harmless ones. The
supervisor and nspawn itself stay outside, in the supervisor's unit: with them in one group the machine could not be
given controllers of its own, which a node's pods need, and a machine that stands still could not be let run again.
"""

from __future__ import annotations

from infra.machines.host import run


class ScopeUnit:
    def __init__(self, machine: str) -> None:
        self._machine = machine

    def limits(self, memory: int, cpu: float) -> list[str]:
        """As properties of the unit; memory in bytes, cpu in processors."""
        return [f"MemoryMax={memory}", f"CPUQuota={round(cpu * 100)}%"]

    def limit(self, memory: int, cpu: float) -> None:
        run("systemctl", "set-property", "--runtime", self._name(), *self.limits(memory, cpu))

    def freeze(self, frozen: bool) -> None:
        run("systemctl", "freeze" if frozen else "thaw", self._name())

    def is_frozen(self) -> bool:
        return run("systemctl", "show", "--property=FreezerState", "--value", self._name()).strip() == "frozen"

    def _name(self) -> str:
        return run("machinectl", "show", "--property=Unit", "--value", self._machine).strip()
