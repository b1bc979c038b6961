"""hybrid.platform.private_certificate"""

import grp
import os
import subprocess

import pytest

from plugins.modules import private_certificate

GROUP = grp.getgrgid(os.getgid()).gr_name
NAMES = ["ledger-0", "10.10.0.10", "fd00::10"]


@pytest.fixture
def issue(call, tmp_path, monkeypatch):
    # The keys belong to root on a machine; here to whoever runs the tests.
    monkeypatch.setattr(private_certificate.os, "chown", lambda *_: None)

    def run(names=NAMES, **more):
        return call(private_certificate, directory=str(tmp_path / "tls"), names=names, group=GROUP, **more)

    return run


def openssl(*arguments):
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True)


def test_it_is_made_once(issue):
    first = issue()
    assert first["changed"] and first["issued"] == ["authority", "certificate"]
    second = issue()
    assert not second["changed"] and second["authority"] == first["authority"] != ""


@pytest.mark.parametrize("name", NAMES)
def test_clients_can_verify_every_name_and_no_other(issue, tmp_path, name):
    issue()
    check = "-verify_hostname" if name == "ledger-0" else "-verify_ip"
    verify = ["verify", "-CAfile", str(tmp_path / "tls/ca.crt"), check]
    assert openssl(*verify, name, str(tmp_path / "tls/server.crt")).returncode == 0
    other = "ledger-1" if name == "ledger-0" else "10.10.0.11"
    assert openssl(*verify, other, str(tmp_path / "tls/server.crt")).returncode != 0


def test_another_address_gets_another_certificate_by_the_same_authority(issue):
    before = issue()
    after = issue(names=["ledger-0", "10.10.0.99"])
    assert after["issued"] == ["certificate"]
    assert after["authority"] == before["authority"]


def test_a_certificate_near_its_end_is_renewed(issue):
    issue(days=10)
    assert not issue(days=10)["changed"]
    # Ten days are less than a third of a hundred.
    assert issue(days=100)["issued"] == ["certificate"]


def test_a_certificate_that_does_not_fit_its_key_or_authority_is_renewed(issue, tmp_path):
    issue()
    new_key = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl(*new_key, "-out", str(tmp_path / "tls/server.key"))
    assert issue()["issued"] == ["certificate"]
    (tmp_path / "tls/ca.key").unlink()
    assert issue()["issued"] == ["authority", "certificate"]


def test_check_mode_makes_nothing(issue, tmp_path):
    result = issue(check=True)
    assert result["issued"] == ["authority", "certificate"] and result["authority"] == ""
    assert not (tmp_path / "tls").exists()


def test_keys_are_not_for_everybody(issue, tmp_path):
    issue()
    assert (tmp_path / "tls/ca.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "tls/server.key").stat().st_mode & 0o777 == 0o640
    assert sorted(p.name for p in (tmp_path / "tls").iterdir()) == ["ca.crt", "ca.key", "server.crt", "server.key"]
