"""How long to wait for what a machine does, in one place: a processor made of software is many times slower."""

from __future__ import annotations

from infra.machines.accelerator import accelerator

IN_SOFTWARE = 10

SYSTEMD_WAITS = 90
"""Seconds that systemd by default gives a device to come and a service to start."""


def patience(driver: str) -> int:
    """The factor on every limit of time; 1 where machines run on a real processor."""
    return IN_SOFTWARE if driver == "qemu" and not accelerator().is_hardware else 1
