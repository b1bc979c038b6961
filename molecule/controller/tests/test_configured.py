"""What the controller inside has made of the machines."""

import pytest

testinfra_hosts = ["ansible://vm_tier"]


def test_the_machine_is_well(host):
    assert host.check_output("systemctl is-system-running || true") == "running"


@pytest.mark.parametrize("unit", ["tariffs", "nftables", "postgresql"])
def test_every_role_was_run(host, unit):
    assert host.service(unit).is_running and host.service(unit).is_enabled


def test_the_machine_is_closed(host):
    assert "policy drop" in host.check_output("nft list table inet hybrid_firewall")
