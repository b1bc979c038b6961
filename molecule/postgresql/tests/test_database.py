"""Who may come in, how, and what they may do there: each machine is tried from the other one."""

import json
import os
import shlex
from pathlib import Path

import pytest
import testinfra

INVENTORY = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "machines/inventory.yml"
ADDRESS = {n: v["ansible_host"] for n, v in json.loads(INVENTORY.read_text())["all"]["hosts"].items()}
OTHER = {"trixie": "bookworm", "bookworm": "trixie"}


def machine(name):
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY))


@pytest.fixture(params=sorted(OTHER))
def server(request):
    return request.param


def psql(server, user, statement, *, database="ledger", password=None, client=None, tls="verify-full"):
    client = client or OTHER[server]
    connection = f"host={ADDRESS[server]} user={user} dbname={database} sslmode={tls} connect_timeout=5"
    if tls == "verify-full":
        connection += f" sslrootcert=/root/{server}-ca.pem"
    password = shlex.quote(password or f"molecule's {user}")
    command = f"PGPASSWORD={password} psql -XAt {shlex.quote(connection)} -c {shlex.quote(statement)}"
    return machine(client).run(f"sh -c {shlex.quote(command)}")


def test_the_machine_is_well(host):
    assert host.check_output("systemctl is-system-running || true") == "running"


@pytest.mark.parametrize("user", ["web", "api", "report"])
def test_every_declared_caller_reads_what_the_owner_made_and_what_outlived_everything(server, user):
    read = psql(server, user, "select amount from entries where id = 1")
    assert read.stdout.strip() == "42", read.stderr


@pytest.mark.parametrize("user", ["web", "api"])
def test_who_may_write_writes_rows(server, user):
    done = psql(server, user, "insert into entries (amount) values (1) returning amount")
    assert done.stdout.startswith("1"), done.stderr


@pytest.mark.parametrize(
    ("user", "statement"),
    [
        ("api", "drop table entries"),
        ("api", "truncate entries"),
        ("api", "alter table entries add column x int"),
        ("api", "create table mine (id int)"),
        ("api", "create temporary table mine (id int)"),
        ("api", "create role friend"),
        ("report", "insert into entries (amount) values (1)"),
        ("report", "delete from entries"),
        ("report", "select nextval('entries_id_seq')"),
    ],
)
def test_who_uses_the_database_of_another_may_not_do_more(server, user, statement):
    refused = psql(server, user, statement)
    assert refused.rc != 0
    assert "permission denied" in refused.stderr or "must be owner" in refused.stderr, refused.stderr


@pytest.mark.parametrize(("user", "database"), [("api", "private"), ("web", "private"), ("api", "postgres")])
def test_nobody_comes_to_a_database_where_they_are_not_named(server, user, database):
    assert "no pg_hba.conf entry" in psql(server, user, "select 1", database=database).stderr


def test_a_wrong_password_is_refused(server):
    assert "password authentication failed" in psql(server, "web", "select 1", password="wrong").stderr  # noqa: S106


def test_a_connection_without_tls_is_refused(server):
    assert "no encryption" in psql(server, "web", "select 1", tls="disable").stderr


def test_a_user_comes_in_only_from_their_own_addresses(server):
    assert "no pg_hba.conf entry" in psql(server, "elsewhere", "select 1").stderr
    assert "no pg_hba.conf entry" in psql(server, "web", "select 1", client=server, tls="require").stderr


def test_passwords_are_kept_as_scram(server):
    kept = machine(server).check_output(
        "runuser -u postgres -- psql -XAtc \"select distinct split_part(rolpassword, '$', 1) from pg_authid "
        'where rolcanlogin and rolpassword is not null"'
    )
    assert kept == "SCRAM-SHA-256"


def test_the_data_is_on_the_data_disk(server):
    where = machine(server).check_output("runuser -u postgres -- psql -XAtc 'show data_directory'")
    assert where.startswith("/srv/data/")
    assert machine(server).mount_point("/srv/data").exists


def test_the_settings_of_the_run_that_failed_are_gone(server):
    shown = machine(server).check_output("runuser -u postgres -- psql -XAtc 'show shared_buffers'")
    assert shown == "64MB"
