"""What the role `hardening` makes of a machine and of the user's wishes, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[2] / "roles/hardening"
PROFILES = ["base", "database", "kubernetes_node", "bastion"]
LOADER = DataLoader()
VARIABLES = {
    name: value
    for file in ("defaults", "vars")
    for name, value in LOADER.load_from_file(str(ROLE / file / "main.yml"), trusted_as_template=True).items()
}
FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")


def situation(installed: tuple[str, ...] = ("openssh-server", "sudo"), **texts: str) -> dict[str, Any]:
    """What hybrid.platform.situation tells of a running Debian 13."""
    told = {"booted": True, "container": "", "apparmor": True, "audit": True, "distribution": "debian", "version": "13"}
    told |= {"passes_on": {parameter: [] for parameter in FORWARDING}}
    return told | {"installed": list(installed), "texts": {"/proc/net/ipv6_route": "", **texts}}


def render(expression: str, **more: Any) -> Any:
    """The expression by the role's own files, as a task would see it."""
    known = {"__hardening_situation": situation(), "ansible_check_mode": False}
    return Templar(LOADER, variables=VARIABLES | known | more).template(trust_as_template("{{ " + expression + " }}"))


def tasks(file: str) -> str:
    return (ROLE / "tasks" / file).read_text()


PARAMETERS = tasks("sysctl.yml").split("{{")[1].split("}}")[0]


def blocked(profile: str, **more: Any) -> list[str]:
    expression = tasks("modules.yml").split("{{")[-1].split("}}")[0]
    modules: list[str] = render(expression, hardening_profile=profile, **more)
    return modules


def test_a_node_may_load_what_pods_ask_for() -> None:
    assert not {"sctp", "squashfs"} & set(blocked("kubernetes_node"))
    assert {"sctp", "squashfs", "dccp"} < set(blocked("base"))


def test_whoever_blocks_a_module_does_it_on_every_profile() -> None:
    assert all("floppy" in blocked(profile, hardening_modules_blocked=["floppy"]) for profile in PROFILES)


def test_a_module_may_be_allowed_as_lsmod_spells_it() -> None:
    assert {"udf", "usb-storage"} < set(blocked("base"))
    assert not {"udf", "usb-storage"} & set(blocked("base", hardening_modules_allowed=["udf", "usb_storage"]))


def test_snaps_go_on() -> None:
    snaps = {"__hardening_situation": situation(("snapd",))}
    assert "snapd" in render("__hardening_packages_asked")
    assert "squashfs" not in blocked("base", **snaps) and "udf" in blocked("base", **snaps)
    assert "squashfs is not blocked" in skipped(**snaps) and "squashfs" not in skipped()


def test_a_program_may_be_kept() -> None:
    given = {"__hardening_situation": situation(("tftpd", "xinetd", "sudo")), "hardening_packages_kept": ["tftpd"]}
    asked = tasks("packages.yml").split('name: "{{')[-1].split("}}")[0]
    assert render(asked, **given) == ["xinetd"]


@pytest.mark.parametrize(("profile", "wish", "value"), [("base", {}, 0), ("kubernetes_node", {}, 1), ("base", 1, 1)])
def test_what_is_one_setting_for_the_kernel_has_one_value(profile: str, wish: Any, value: int) -> None:
    wishes = {"net.ipv4.ip_forward": wish} if wish else {}
    found = render(PARAMETERS, hardening_profile=profile, hardening_sysctl_parameters=wishes)
    forwarding = ["net.ipv4.ip_forward", "net.ipv4.conf.all.forwarding", "net.ipv4.conf.default.forwarding"]
    assert [int(found[name]) for name in forwarding] == [value] * 3


def test_a_routers_question_for_an_address_outside_its_network_is_answered() -> None:
    assert int(render(PARAMETERS)["net.ipv4.conf.all.arp_ignore"]) == 1


ROUTER = "00000000000000000000000000000000 00 " * 2 + "fe80000000000000807caffffee27add 00000400 00000001 00000000"


@pytest.mark.parametrize(
    ("route", "booted", "announced"),
    [
        (f"{ROUTER} 00450003     eth0", True, True),
        # By networkd, or by hand.
        (f"{ROUTER} 00000003     eth0", True, False),
        # One that was used often.
        (f"{ROUTER[:-8]}00450003 00000003     eth0", True, False),
        # The network of an announced address, and the route to nowhere that every machine has.
        ("20010db8000900000000000000000000 40 " + ROUTER[36:] + " 004c0001     eth0", True, False),
        (f"{ROUTER} 00200200       lo", True, False),
        (f"{ROUTER} 00450003     eth0", False, False),
        ("", True, False),
    ],
)
def test_who_lives_by_what_a_router_announces_goes_on(route: str, booted: bool, announced: bool) -> None:
    machine = situation() | {"booted": booted}
    machine["texts"] |= {"/proc/net/ipv6_route": route + "\n"}
    found = render(PARAMETERS, __hardening_situation=machine)
    assert ("net.ipv6.conf.default.accept_ra" in found) is not announced
    assert ("net.ipv6.conf.all.autoconf" in found) is not announced
    if not announced:
        assert found["net.ipv6.conf.*.accept_ra"] == (0 if booted else None), "an image says nothing of interfaces"
    told = skipped(__hardening_situation=machine)
    assert ("announced by a router" in told) is announced


def test_the_users_settings_of_sshd_come_first_however_they_are_spelt() -> None:
    wishes = {"permitrootlogin": "yes", "PasswordAuthentication": "yes"}
    settings = render("__hardening_sshd", hardening_sshd_options=wishes, hardening_sshd_permit_root_login="no")
    assert list(settings)[:2] == list(wishes) and settings["PasswordAuthentication"] == "yes"
    assert settings["DenyGroups"] == "ssh-denied"


def test_a_refusal_reads_the_users_settings_however_they_are_spelt() -> None:
    wishes = {"PASSWORDAUTHENTICATION": "yes", "permitRootLogin": "no"}
    found = render("__hardening_sshd_lower", hardening_sshd_options=wishes, hardening_sshd_permit_root_login="yes")
    assert (found["passwordauthentication"], found["permitrootlogin"], found["gssapiauthentication"]) == (
        "yes",
        "no",
        "no",
    )


def test_yes_and_no_without_quotes_are_what_sshd_knows() -> None:
    wishes = {"passwordauthentication": False, "X11Forwarding": True, "MaxAuthTries": 4}
    given = {"hardening_sshd_options": wishes, "hardening_sshd_permit_root_login": False}
    settings = render("__hardening_sshd", **given)
    assert [settings[name] for name in (*wishes, "PermitRootLogin")] == ["no", "yes", "4", "no"]
    asked = render("__hardening_sshd_lower", **given)
    assert (asked["passwordauthentication"], asked["permitrootlogin"]) == ("no", "no")


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        ({}, True),
        ({"hardening_accounts_umask": "0027", "hardening_accounts_home_mode": "0700"}, True),
        ({"hardening_accounts_umask": 0o27}, False),
        ({"hardening_accounts_umask": "27"}, False),
        ({"hardening_accounts_umask": "u=rwx"}, False),
        ({"hardening_accounts_home_mode": 0o750}, False),
        ({"hardening_accounts_home_mode": "750"}, False),
    ],
)
def test_permissions_are_octal_digits(given: Any, passes: bool) -> None:
    task = next(task for task in yaml.safe_load(tasks("preflight.yml")) if "octal digits" in task["name"])
    assert all(render(condition, **given) for condition in task["ansible.builtin.assert"]["that"]) is passes


@pytest.mark.parametrize(
    ("said", "may"), [({}, True), ({"ansible_user": "root"}, True), ({"ansible_user": "ann"}, False)]
)
def test_root_comes_by_key_where_ansible_does_or_is_not_told_as_whom(said: Any, may: bool) -> None:
    expected = "prohibit-password" if may else "no"
    assert render("__hardening_sshd.PermitRootLogin", **said) == expected
    option = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    told = option["hardening_sshd_permit_root_login"]["description"]
    assert "where Ansible comes as root, or is not told as whom (ansible_user, -u)" in told


@pytest.mark.parametrize(
    ("methods", "said", "lost"),
    [
        ([], {}, []),
        (["keyboard-interactive"], {}, ["KbdInteractiveAuthentication"]),
        (["keyboard-interactive"], {"KBDINTERACTIVEAUTHENTICATION": "yes"}, []),
        (["password"], {"KbdInteractiveAuthentication": "no"}, ["PasswordAuthentication"]),
    ],
)
def test_a_second_factor_goes_on_unless_somebody_says_so(methods: Any, said: Any, lost: list[str]) -> None:
    who = {"methods": methods}
    given = {"hardening_sshd_options": said, "__hardening_administrators": who}
    assert render("__hardening_factors_lost", **given) == lost
    task = next(task for task in yaml.safe_load(tasks("preflight.yml")) if "more than a key" in task["name"])
    assert task["ansible.builtin.assert"]["that"] == "__hardening_factors_lost | length == 0"


@pytest.mark.parametrize(
    ("on", "wishes", "profile", "lost"),
    [
        ([], {}, "base", []),
        (FORWARDING, {}, "base", [*FORWARDING]),
        (FORWARDING, {"net.ipv4.ip_forward": 1}, "base", ["net.ipv6.conf.all.forwarding"]),
        (["net.ipv4.ip_forward"], {"net.ipv4.ip_forward": 0}, "base", []),
        (FORWARDING, {}, "kubernetes_node", []),
    ],
)
def test_what_is_passed_on_goes_on_unless_somebody_says_so(on: Any, wishes: Any, profile: str, lost: list[str]) -> None:
    machine = situation()
    machine["passes_on"] |= {parameter: ["docker0"] for parameter in on}
    given = {"hardening_sysctl_parameters": wishes, "hardening_profile": profile, "__hardening_situation": machine}
    assert render("__hardening_forwarding_lost", **given) == lost


def test_interfaces_that_come_later_pass_on_what_the_others_do() -> None:
    found = render(PARAMETERS, hardening_sysctl_parameters={"net.ipv6.conf.all.forwarding": 1})
    assert [int(found[f"net.ipv6.conf.{which}.forwarding"]) for which in ("all", "default")] == [1, 1]
    assert int(render(PARAMETERS)["net.ipv6.conf.all.forwarding"]) == 0


def test_strict_source_checks_hold_on_the_interfaces_that_are_there() -> None:
    assert int(render(PARAMETERS)["net.ipv4.conf.*.rp_filter"]) == 1
    assert int(render(PARAMETERS, hardening_profile="kubernetes_node")["net.ipv4.conf.*.rp_filter"]) == 2


@pytest.mark.parametrize(
    ("passwords", "account", "run_out"),
    [
        ({"__hardening_pam_profiles": {"changed": False}}, "", True),
        ({"__hardening_pam_profiles": {"changed": False, "skipped": True}}, "", False),
        # By --tags accounts.
        ({}, "", False),
        ({}, "account pam_unix.so no_pass_expiry", True),
    ],
)
def test_passwords_run_out_only_where_who_comes_by_key_needs_none(passwords: Any, account: str, run_out: bool) -> None:
    given = dict(passwords)
    given["__hardening_situation"] = situation(**{"/etc/pam.d/common-account": account})
    values = [line.split("values: ")[1].strip('"') for line in tasks("accounts.yml").splitlines() if "values: " in line]
    found = [render(value.removeprefix("{{ ").removesuffix(" }}"), **given) for value in values]
    assert [("PASS_MAX_DAYS" in found[0]), ("INACTIVE" in found[1])] == [run_out, run_out]
    assert "UMASK" in found[0]


def test_what_may_not_be_installed_is_told_and_not_started() -> None:
    skipped_task = {"changed": False, "skipped": True}
    present = render("__hardening_packages_present", __hardening_installation=skipped_task)
    assert "auditd" not in present and "sudo" in present
    assert "auditd" in render("__hardening_packages_present", __hardening_installation={"changed": True})
    told = skipped(hardening_packages_enabled=False)
    assert "hardening_packages_enabled is false: " in told and "auditd" in told and "not installed" not in skipped()


def test_a_rule_that_another_file_has_is_not_there_twice() -> None:
    """auditctl would stop at the second, and load nothing after it."""
    written = DataLoader().load_from_file(str(ROLE / "tasks/auditd.yml"), trusted_as_template=True)[0]
    ours = "# Ours.\n-w /etc/passwd -p wa -k identity\n-w /etc/shadow -p wa -k identity"
    texts = {
        "/etc/audit/rules.d/50-cis.rules": "-b 8192\n\n -w  /etc/passwd -p wa\t-k identity \n-e 2\n",
        "/etc/audit/rules.d/90-hardening.rules": "-w /etc/shadow -p wa -k identity\n",
    }
    given = written["vars"] | {"__hardening_audit_rules": ours.splitlines()}
    (file,) = written["hybrid.platform.files"]["files"]

    def content(**texts: str) -> Any:
        known = given | {"__hardening_situation": situation(**texts)}
        return Templar(LOADER, variables=VARIABLES | known).template(file["content"])

    assert content(**texts) == "# Ours.\n-w /etc/shadow -p wa -k identity\n"
    assert content(**{"/etc/audit/rules.d/*.rules": ""}) == ours + "\n"


@pytest.mark.parametrize(
    ("said", "locked"), [("Audit system is in immutable mode - exiting", True), ("No change", False)]
)
def test_rules_that_wait_for_a_boot_are_told(said: str, locked: bool) -> None:
    assert ("loaded at the next" in skipped(__hardening_augenrules={"stdout": said})) is locked


def test_a_switch_that_is_a_word_is_named() -> None:
    init_plugin_loader()
    expression = tasks("preflight.yml").split("__hardening_switches: ")[1]
    switches, words = expression.split("__hardening_words: >-")
    found = {"__hardening_switches": trust_as_template(switches.strip().strip('"'))}
    asked = words.split("{{")[1].split("}}")[0]
    assert render(asked, **found) == []
    assert render(asked, **found, hardening_aide_enabled="false") == ["hardening_aide_enabled"]


def test_nobody_forwards_connections_but_a_bastion() -> None:
    def settings(profile: str) -> dict[str, str]:
        found: dict[str, str] = render("__hardening_sshd", hardening_profile=profile)
        return found

    assert {settings(profile)["DisableForwarding"] for profile in PROFILES if profile != "bastion"} == {"yes"}
    assert settings("bastion")["AllowTcpForwarding"] == "local" and settings("bastion")["AllowAgentForwarding"] == "no"


@pytest.mark.parametrize(
    ("installed", "jobs", "list_of_at"),
    [
        ((), {"changed": False, "skipped": True}, ("root\n", "0600", "root")),
        (("at",), {"files": []}, ("root\n", "0640", "daemon")),
        (("at",), {"files": [{"pw_name": name} for name in ("bob", "", "bob")]}, ("root\nbob\n", "0640", "daemon")),
    ],
)
def test_at_can_read_who_may_plan_jobs_and_who_has_some_may(installed: Any, jobs: Any, list_of_at: Any) -> None:
    files = yaml.safe_load(tasks("cron.yml"))[-1]["hybrid.platform.files"]["files"]
    found = next(file for file in files if file["path"] == "/etc/at.allow")
    known = {"__hardening_situation": situation(installed), "__hardening_at_jobs": jobs}
    text = "".join(f"<{found[part]}>" for part in ("content", "mode", "group"))
    rendered = Templar(LOADER, variables=VARIABLES | known).template(trust_as_template(text))
    assert rendered == "".join(f"<{part}>" for part in list_of_at)
    assert "at" in render("__hardening_packages_asked") and found["replace"] is False


def services(**more: Any) -> set[str]:
    units = render(tasks("services.yml").split("{{")[1].split("}}")[0], **more)
    return {unit["name"] for unit in units}


def test_a_run_that_installed_nothing_starts_only_what_is_there() -> None:
    assert services(__hardening_situation=situation(("auditd",))) & {"auditd.service", "rsyslog.service"} == {
        "auditd.service"
    }
    assert services(__hardening_installation={}) >= {"auditd.service", "rsyslog.service", "systemd-timesyncd.service"}
    assert "auditd.service" not in services(__hardening_installation={}, ansible_check_mode=True)


@pytest.mark.parametrize("rival", ["chrony", "ntpsec", "ntp", "openntpd"])
def test_a_machine_keeps_its_own_service_for_the_time(rival: str) -> None:
    wanted = render("__hardening_packages_wanted", __hardening_situation=situation((rival,)))
    assert "systemd-timesyncd" not in wanted and rival in render("__hardening_packages_asked")


def test_a_machine_keeps_the_sudo_that_asks_a_directory() -> None:
    assert "sudo" not in render("__hardening_packages_wanted", __hardening_situation=situation(("sudo-ldap",)))


def test_every_package_that_is_wanted_is_asked_for_first() -> None:
    """One that is forgotten would have apt run each time."""
    assert set(render("__hardening_packages_wanted")) <= set(render("__hardening_packages_asked"))


def skipped(**more: Any) -> str:
    known = {"__hardening_administrators": {"administrators": {}}, "ansible_connection": "ssh"} | more
    told = render("__hardening_skipped | selectattr('skipped') | map(attribute='reason')", **known)
    return "; ".join(told)


def test_it_is_told_that_nothing_was_proved_where_nobody_came_by_ssh() -> None:
    who = {"__hardening_administrators": {"administrators": {}}, "hardening_firewall_enabled": True}
    assert "Ansible came by local" in skipped(ansible_connection="local", **who)
    assert "Ansible came" not in skipped(ansible_connection="ansible.builtin.ssh", **who)
    assert "Debian's own daily check" in skipped(
        __hardening_situation=situation(("aide-common",)), ansible_connection="ssh", **who
    )
    rivalled = skipped(
        __hardening_situation=situation(("chrony",)) | {"container": "nspawn"}, ansible_connection="ssh", **who
    )
    assert "another time service" in rivalled and "a container's clock" not in rivalled
    assert "no SSH server" in skipped(ansible_connection="ssh", __hardening_situation=situation(()), **who)
