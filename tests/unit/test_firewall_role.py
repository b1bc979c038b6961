"""What the role firewall makes of what it is asked to let in."""

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from plugins.filter.firewall import firewall_faults

ROLE = Path(__file__).resolve().parents[2] / "roles/firewall"
LOADER = DataLoader()
OPTIONS = LOADER.load_from_file(str(ROLE / "meta/argument_specs.yml"))["argument_specs"]["main"]["options"]
VARIABLES = {
    name: value
    for file in ("defaults", "vars")
    for name, value in LOADER.load_from_file(str(ROLE / file / "main.yml"), trusted_as_template=True).items()
}


def rules(*allowed: dict[str, Any]) -> list[str]:
    """Who comes in beside the managers, as nft reads it."""
    given = VARIABLES | {"firewall_management_sources": ["192.0.2.1"], "firewall_allow": list(allowed)}
    template = trust_as_template((ROLE / "templates/nftables.conf.j2").read_text())
    lines = [line.strip() for line in Templar(LOADER, variables=given).template(template).splitlines()]
    return [line for line in lines if " saddr { " in line and "192.0.2.1" not in line]


@pytest.mark.parametrize(
    ("entry", "what"),
    [
        ({"port": 443}, "tcp dport 443"),
        ({"port": "443"}, "tcp dport 443"),
        ({"port": "30000-32767", "protocol": "udp"}, "udp dport 30000-32767"),
        # By number, since a small image has no /etc/protocols.
        ({"protocol": "vrrp"}, "meta l4proto 112"),
        ({"protocol": "esp"}, "meta l4proto 50"),
        ({"protocol": "ah"}, "meta l4proto 51"),
        ({"protocol": "gre"}, "meta l4proto 47"),
    ],
)
def test_what_may_come_in(entry, what):
    given = {**entry, "sources": ["192.0.2.9", "2001:db8::1"]}
    validator = ArgumentSpecValidator({"firewall_allow": OPTIONS["firewall_allow"]})
    assert validator.validate({"firewall_allow": [given]}).error_messages == []
    assert firewall_faults([entry]) == []
    assert rules(given) == [
        f"ip saddr {{ 192.0.2.9 }} {what} accept",
        f"ip6 saddr {{ 2001:db8::1 }} {what} accept",
    ]
    assert rules({**entry, "sources": []}) == []


@pytest.mark.parametrize("port", ["http", "443,80", "500-400", "1-2-3", "70000", 0, -1, "", None])
def test_a_port_that_is_none_is_told(port):
    told = firewall_faults([{"port": 22}, {"port": port}])
    assert told == [f"entry 2: port must be a number or a range, as 443 or 30000-32767, not {port}"]


def test_a_protocol_without_ports_has_none_and_one_with_ports_has_some():
    told = firewall_faults([{"protocol": "vrrp", "port": 112}, {"protocol": "udp"}])
    assert [fault.split(",")[0] for fault in told] == [
        "entry 1: vrrp has no ports",
        "entry 2: port must be a number or a range",
    ]
