"""Filters of the role postgresql."""

import pytest

from plugins.filter.postgresql import admissions, shared_databases

LEDGER = {"name": "ledger", "owner": "web", "users": [{"name": "api"}, {"name": "report", "access": "read"}]}


def test_users_are_in_the_role_of_their_access_and_in_no_other():
    assert {shared["role"]: shared["users"] for shared in shared_databases([LEDGER])} == {
        "ledger_read": ["report"],
        "ledger_write": ["api"],
    }


def test_who_reads_is_granted_nothing_that_changes_a_row():
    (reading, _) = shared_databases([LEDGER])
    assert {grant["privileges"] for grant in reading["grants"]} == {"CONNECT", "SELECT"}


def test_what_the_owner_makes_later_is_granted_too():
    (_, writing) = shared_databases([LEDGER])
    later = {grant["objects"] for grant in writing["grants"] if grant.get("makers") == "web"}
    assert later == {"TABLES", "SEQUENCES"}


def test_a_database_that_lost_its_last_user_keeps_empty_roles_and_one_without_users_has_none():
    assert [shared["users"] for shared in shared_databases([LEDGER | {"users": []}])] == [[], []]
    assert shared_databases([{"name": "ledger", "owner": "web"}]) == []


def test_every_caller_comes_in_and_from_their_own_addresses_only():
    users = [{"name": "web", "clients": ["10.0.0.1"]}, {"name": "api", "clients": []}, {"name": "report"}]
    assert admissions([LEDGER], users, ["10.9.0.0/16"]) == [
        ["ledger", "web", "10.0.0.1/32"],
        ["ledger", "report", "10.9.0.0/16"],
    ]


@pytest.mark.parametrize(("client", "network"), [("10.0.0.1", "10.0.0.1/32"), ("fd00::1", "fd00::1/128")])
def test_an_address_is_a_network_of_one(client, network):
    assert admissions([LEDGER | {"users": []}], [{"name": "web", "clients": [client]}], [])[0][2] == network
