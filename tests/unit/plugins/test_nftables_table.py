"""hybrid.platform.nftables_table, with a kernel that is played by a few lines."""

import hashlib
from pathlib import Path

import pytest

from plugins.modules import nftables_table

NAME = "inet hybrid_firewall"
RULES = "delete table inet hybrid_firewall\ntable inet hybrid_firewall { chain input { accept } }\n"


class Kernel:
    """What nft and dpkg would tell."""

    def __init__(self):
        self.table = None
        self.conffiles = ""

    def run(self, _module, command, data=None, check_rc=False, **_):
        if command[:2] == ["nft", "--check"]:
            assert check_rc
            if "nonsense" in data:
                raise SystemExit("nft: syntax error")
        elif command[:2] == ["nft", "--stateless"]:
            return (0, self.table, "") if self.table is not None else (1, "", "No such file or directory")
        elif command[:2] == ["nft", "--file"]:
            self.table = Path(command[2]).read_text().splitlines()[-1] + " as the kernel shows it\n"
        elif command[0] == "dpkg-query":
            return 0, self.conffiles, ""
        return 0, "", ""


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(nftables_table.AnsibleModule, "run_command", lambda *a, **k: kernel.run(*a, **k))
    monkeypatch.setattr(nftables_table.AnsibleModule, "get_bin_path", lambda self, name: f"/usr/sbin/{name}")
    return kernel


@pytest.fixture
def load(call, kernel, tmp_path):
    def run(rules=RULES, **more):
        return call(nftables_table, table=NAME, rules=rules, path=str(tmp_path / "nftables.conf"), **more)

    return run


def test_new_rules_are_loaded_and_kept_for_the_next_boot(load, kernel, tmp_path):
    told = load(diff=True)
    assert told["changed"] and told["diff"]["after"] == RULES
    assert "accept" in kernel.table and (tmp_path / "nftables.conf").read_text() == RULES


def test_the_same_rules_change_nothing(load):
    load()
    assert "diff" not in load() and not load()["changed"]


def test_rules_that_somebody_changed_by_hand_are_put_right(load, kernel):
    load()
    kernel.table = "something else"
    assert not load(check=True)["changed"], "these rules were proved before, and need no trial"
    assert load()["changed"]
    assert "as the kernel shows it" in kernel.table


def test_a_flushed_table_counts_as_a_change_in_check_mode_too(load, kernel):
    load()
    kernel.table = None
    assert load(check=True)["changed"]
    assert kernel.table is None


def test_rules_of_somebody_else_are_not_written_over(load, kernel, tmp_path, failure):
    (tmp_path / "nftables.conf").write_text("table ip nat { }\n")
    with pytest.raises(failure, match="has rules that are not of the table inet hybrid_firewall"):
        load()
    assert (tmp_path / "nftables.conf").read_text() == "table ip nat { }\n" and kernel.table is None


def test_the_file_that_the_package_brought_is(load, kernel, tmp_path):
    path = tmp_path / "nftables.conf"
    path.write_text("flush ruleset\n")
    kernel.conffiles = f" {path} {hashlib.md5(path.read_bytes()).hexdigest()}"
    assert load()["changed"] and path.read_text() == RULES


def test_a_check_does_not_ask_for_a_program_that_it_has_not_installed(load, kernel, monkeypatch):
    monkeypatch.setattr(nftables_table.AnsibleModule, "get_bin_path", lambda self, name: None)
    monkeypatch.setattr(kernel, "run", lambda *_, **__: pytest.fail("it is not there"))
    assert load(check=True)["changed"]


def test_rules_that_do_not_parse_change_nothing(call, kernel, tmp_path):
    with pytest.raises(SystemExit, match="syntax error"):
        from ansible.module_utils.testing import patch_module_args

        with patch_module_args({"table": NAME, "rules": "nonsense", "path": str(tmp_path / "nftables.conf")}):
            nftables_table.main()
    assert not (tmp_path / "nftables.conf").exists() and kernel.table is None


def test_an_image_gets_the_file_only(load, kernel, tmp_path):
    assert load(load=False)["changed"]
    assert (tmp_path / "nftables.conf").exists()
    assert kernel.table is None
