"""What the controller inside has made of the machines."""

import pytest


def test_the_machine_is_well(host):
    state = host.check_output("systemctl is-system-running || true")
    assert state == "running", host.run("systemctl --failed; journalctl --boot --priority=warning --no-pager").stdout


@pytest.mark.parametrize("unit", ["tariffs", "postgresql"])
def test_every_service_runs(host, unit):
    assert host.service(unit).is_running and host.service(unit).is_enabled


def test_the_machine_is_closed_now_and_after_a_boot(host):
    assert "policy drop" in host.check_output("nft list table inet hybrid_firewall")
    assert host.service("nftables").is_enabled


def test_the_machine_is_hardened(host):
    assert host.sysctl("net.ipv4.conf.all.accept_redirects") == 0
