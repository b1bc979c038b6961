"""hybrid.platform.sysctls"""

import re

import pytest

from plugins.modules import sysctls


@pytest.fixture
def proc(tmp_path, monkeypatch):
    monkeypatch.setattr(sysctls, "ELSEWHERE", ())
    (tmp_path / "proc" / "kernel").mkdir(parents=True)
    (tmp_path / "proc" / "kernel" / "kptr_restrict").write_text("0\n")
    (tmp_path / "proc" / "net" / "eth0.1").mkdir(parents=True)
    (tmp_path / "proc" / "net" / "eth0.1" / "range").write_text("1\t2\n")
    return tmp_path / "proc"


def apply(call, proc, check=False, diff=False, **parameters):
    return call(sysctls, check=check, diff=diff, path=str(proc.parent / "d" / "90.conf"), proc=str(proc), **parameters)


def test_sets_disk_and_running_kernel_once(call, proc):
    wanted = {"kernel.kptr_restrict": 2, "net/eth0.1/range": "1 2"}
    assert apply(call, proc, parameters=wanted)["set"] == ["kernel.kptr_restrict"]
    assert (proc / "kernel" / "kptr_restrict").read_text() == "2"
    assert "kernel.kptr_restrict = 2\n" in (proc.parent / "d" / "90.conf").read_text()
    assert not apply(call, proc, parameters=wanted)["changed"]


def test_the_difference_is_told_to_who_asks_for_it(call, proc):
    wanted = {"parameters": {"kernel.kptr_restrict": 2}, "check": True}
    assert "diff" not in apply(call, proc, **wanted)
    assert "kptr_restrict" in apply(call, proc, diff=True, **wanted)["diff"][0]["after"]


def test_a_running_value_that_drifted_is_seen(call, proc):
    apply(call, proc, parameters={"kernel.kptr_restrict": 2})
    (proc / "kernel" / "kptr_restrict").write_text("0\n")
    assert apply(call, proc, check=True, parameters={"kernel.kptr_restrict": 2})["set"] == ["kernel.kptr_restrict"]
    assert (proc / "kernel" / "kptr_restrict").read_text() == "0\n"


def test_what_the_kernel_lacks_is_told_or_fails(call, proc, failure):
    assert "does not have it" in apply(call, proc, parameters={"kernel.other": 1})["impossible"]["kernel.other"]
    with pytest.raises(failure, match=r"kernel\.other: this kernel does not have it"):
        apply(call, proc, parameters={"kernel.other": 1}, strict=True)


def test_the_build_hosts_kernel_is_left_alone(call, proc):
    assert apply(call, proc, parameters={"kernel.kptr_restrict": 2}, running=False)["set"] == []
    assert (proc / "kernel" / "kptr_restrict").read_text() == "0\n"


def lay(directory, texts):
    """Files, by their paths in the directory."""
    for path, text in texts.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)


def test_a_star_stands_for_every_interface_that_is_there(call, proc):
    lay(proc, {f"net/{interface}/redirects": "1\n" for interface in ("all", "eth0.1")})
    wanted = {"net.*.redirects": 0, "net.all.redirects": 2}
    assert sorted(apply(call, proc, parameters=wanted)["set"]) == ["net.all.redirects", "net/eth0.1/redirects"]
    assert (proc / "net" / "eth0.1" / "redirects").read_text() == "0"
    assert (proc / "net" / "all" / "redirects").read_text() == "2", "what is named in full goes before the star"
    assert "net.*.redirects = 0\n" in (proc.parent / "d" / "90.conf").read_text()
    assert not apply(call, proc, parameters=wanted)["changed"]


def test_what_another_file_names_in_full_is_left_to_it(call, proc, monkeypatch):
    lay(proc, {f"net/{interface}/filter": "0\n" for interface in ("eth0", "eth0.1", "eth2", "eth3")})
    lay(
        proc.parent,
        {
            "d/10.conf": "net.eth0/1.filter = 2\n",
            "d/50.conf": "# Goes before its namesake of the vendor.\n",
            "d/99.conf": "-net.eth2.filter\n",
            "vendor/50.conf": "net.eth3.filter = 2\n",
        },
    )
    monkeypatch.setattr(sysctls, "ELSEWHERE", (f"{proc.parent}/vendor",))
    assert apply(call, proc, parameters={"net.*.filter": 1})["set"] == ["net/eth0/filter", "net/eth3/filter"]


def test_null_leaves_all_alone_that_a_star_would_reach(call, proc):
    assert apply(call, proc, parameters={"net.*.range": None})["set"] == []
    assert "-net.*.range\n" in (proc.parent / "d" / "90.conf").read_text()


def test_null_leaves_a_parameter_alone_also_where_a_star_would_reach_it(call, proc):
    lay(proc, {f"net/{interface}/redirects": "1\n" for interface in ("all", "eth0")})
    wanted = {"net.*.redirects": 0, "net.all.redirects": None}
    assert apply(call, proc, parameters=wanted)["set"] == ["net/eth0/redirects"]
    assert (proc / "net" / "all" / "redirects").read_text() == "1\n"
    written = (proc.parent / "d" / "90.conf").read_text()
    assert "-net.all.redirects\n" in written, "sysctl.d leaves it out of the star by that"


def test_a_file_that_is_read_later_and_says_otherwise_is_told_before_anything_is_done(call, proc, monkeypatch, failure):
    vendor = proc.parent / "vendor"
    lay(
        proc.parent,
        {
            "d/10.conf": "kernel.e = 9\n",
            "d/99.conf": "# kernel.b = 9\n-kernel/a=9\nkernel.c = 3  4\nkernel.d = 9\nkernel.free = 9\n",
            "d/99-quiet.conf": "kernel.e = 9\n",
            "d/zz.conf": "kernel.d = 4\n",
            "vendor/95.conf": "kernel.b = 9\n",
            "vendor/99.conf": "kernel.c = 9\n",
        },
    )
    monkeypatch.setattr(sysctls, "ELSEWHERE", (str(vendor),))
    wanted = {"kernel.kptr_restrict": 2, "kernel.c": "3 4", "kernel.d": 4, "kernel.e": 5, "kernel.free": None}
    told = f"kernel.a: {proc.parent}/d/99.conf sets 9; kernel.b: {vendor}/95.conf sets 9. "
    with pytest.raises(failure, match=f"At the next boot these would not hold: {re.escape(told)}"):
        apply(call, proc, parameters={**wanted, "kernel.a": 1, "kernel.b": 2}, ignored=["99-quiet.conf"])
    assert (proc / "kernel" / "kptr_restrict").read_text() == "0\n"
    assert not (proc.parent / "d" / "90.conf").exists()
    assert apply(call, proc, parameters=wanted, ignored=["99-quiet.conf"])["set"] == ["kernel.kptr_restrict"]


# The kernel's own, which any process may raise; no file that a test makes refuses a value.
@pytest.mark.parametrize("value", ["true", "5000"])
def test_a_value_that_the_kernel_does_not_take_is_a_failure_and_not_written(call, tmp_path, failure, value):
    file = tmp_path / "90.conf"
    with pytest.raises(failure, match=rf"oom_score_adj: the kernel does not take {value} \(the value is"):
        call(sysctls, path=str(file), proc="/proc/self", parameters={"oom_score_adj": value})
    assert not file.exists()


def test_true_and_false_are_one_and_zero(call, proc):
    apply(call, proc, parameters={"kernel.kptr_restrict": True, "kernel.other": False})
    assert (proc / "kernel" / "kptr_restrict").read_text() == "1"
    written = (proc.parent / "d" / "90.conf").read_text()
    assert "kernel.kptr_restrict = 1\n" in written and "kernel.other = 0\n" in written


def test_what_the_kernel_has_locked_is_no_fault_of_the_value(call, proc):
    (proc / "kernel" / "yama").mkdir()
    (proc / "kernel" / "yama" / "ptrace_scope").write_text("3\n")
    told = apply(call, proc, parameters={"kernel.yama.ptrace_scope": 1})
    assert told["impossible"] == {"kernel.yama.ptrace_scope": "it is locked until the next boot (the value is 3)"}
    assert (proc / "kernel" / "yama" / "ptrace_scope").read_text() == "3\n"
