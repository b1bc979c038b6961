"""hybrid.platform.nftables_table, with a kernel that is played by a few lines."""

import subprocess
from pathlib import Path

import pytest

from plugins.modules import nftables_table

NAME = "inet hybrid_firewall"
RULES = "table inet hybrid_firewall { chain input { accept } }\n"


class Kernel:
    """What nft and systemd would keep."""

    def __init__(self):
        self.table = None
        self.revert = None
        self.calls = []

    def run(self, _module, command, data=None, check_rc=False, **_):
        self.calls.append(" ".join(command))
        if command[:2] == ["nft", "--check"]:
            assert check_rc
            if "nonsense" in data:
                raise SystemExit("nft: syntax error")
        elif command[:2] == ["nft", "--stateless"]:
            return (0, self.table, "") if self.table is not None else (1, "", "No such file or directory")
        elif command[:2] == ["nft", "--file"]:
            self.table = Path(command[2]).read_text().splitlines()[-1] + " as the kernel shows it\n"
        elif command[0] == "systemd-run":
            self.revert = command[-1]
        return 0, "", ""


@pytest.fixture
def kernel(monkeypatch, tmp_path):
    kernel = Kernel()
    monkeypatch.setattr(nftables_table.AnsibleModule, "run_command", lambda *a, **k: kernel.run(*a, **k))
    monkeypatch.setattr(nftables_table, "STATE", tmp_path / "state")
    return kernel


@pytest.fixture
def load(call, kernel, tmp_path):
    def run(rules=RULES, **more):
        return call(nftables_table, table=NAME, rules=rules, path=str(tmp_path / "nftables.conf"), **more)

    return run


def test_new_rules_are_loaded_under_a_timer_that_takes_them_back(load, kernel, tmp_path):
    result = load()
    assert result["changed"] and result["armed"]
    assert kernel.table is not None and (tmp_path / "nftables.conf").read_text() == RULES
    armed, loaded = (
        next(i for i, call in enumerate(kernel.calls) if call.startswith(start))
        for start in ("systemd-run", "nft --file")
    )
    assert armed < loaded, "a machine that dies between the two must not keep unproven rules"


def test_the_timer_restores_the_former_file_and_table(load, kernel, tmp_path):
    load()
    load(rules=RULES.replace("accept", "drop"))
    assert "drop" in (tmp_path / "nftables.conf").read_text()
    script = kernel.revert.replace("nft --file", "cat")
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.startswith(f"table {NAME}\ndelete table {NAME}\n") and "accept" in shown and "drop" not in shown
    assert (tmp_path / "nftables.conf").read_text() == RULES


def test_where_nothing_was_the_timer_leaves_nothing(load, kernel, tmp_path):
    load()
    subprocess.run(["sh", "-c", kernel.revert.replace("nft --file", "cat")], check=True, stdout=subprocess.DEVNULL)
    assert not (tmp_path / "nftables.conf").exists()


def test_the_same_rules_change_nothing_and_arm_nothing(load):
    load()
    again = load()
    assert not again["changed"] and not again["armed"]


def test_rules_that_somebody_changed_by_hand_are_put_right(load, kernel):
    load()
    kernel.table = "something else"
    again = load()
    assert again["changed"] and not again["armed"], "these rules were proven before"
    assert "as the kernel shows it" in kernel.table


def test_a_flushed_table_counts_as_a_change_in_check_mode_too(load, kernel):
    load()
    kernel.table = None
    assert load(check=True)["changed"]
    assert kernel.table is None


def test_rules_that_do_not_parse_change_nothing(call, kernel, tmp_path):
    with pytest.raises(SystemExit, match="syntax error"):
        from ansible.module_utils.testing import patch_module_args

        with patch_module_args({"table": NAME, "rules": "nonsense", "path": str(tmp_path / "nftables.conf")}):
            nftables_table.main()
    assert not (tmp_path / "nftables.conf").exists() and kernel.table is None


def test_an_image_gets_the_file_only(load, kernel, tmp_path):
    assert load(load=False)["changed"]
    assert (tmp_path / "nftables.conf").exists()
    assert kernel.table is None and kernel.revert is None
