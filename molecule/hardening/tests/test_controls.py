"""What each control promises, tried on a machine that the role hardened while it ran, after a reboot."""

from __future__ import annotations

import copy
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

GOOD = "vT7#qLm2!zRw9@Kd"
ANOTHER = "nB4$wXe8?uJp1%Hs"


@pytest.fixture(scope="module")
def name(host):
    return host.backend.get_hostname()


@pytest.fixture(scope="module")
def address(host):
    return host.ansible.get_variables()["ansible_host"]


@pytest.fixture(scope="module")
def container(host):
    return host.run("systemd-detect-virt --container").rc == 0


@pytest.fixture
def user(host):
    """Someone who administers nothing."""
    # Passwords of the past are remembered by name.
    host.run("userdel --remove carla; sed -i '/^carla:/d' /etc/security/opasswd")
    host.check_output("useradd --create-home --shell /bin/bash carla")
    yield "carla"
    host.run("pkill -KILL -u carla; userdel --remove carla")


def as_user(user, command):
    return f"runuser -u {user} -- {command}"


def ssh(options="", command="true", user="root"):
    """What it says is what counts; its 255 would pass for one of testinfra's own connection."""
    base = "ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=10"
    return f"{base} {options} {user}@127.0.0.1 {command} || true"


class Come:
    """Log in from here, as somebody from outside would."""

    def __init__(self, variables):
        self.command = ["ssh", "-i", variables["ansible_ssh_private_key_file"]]
        self.command += shlex.split(variables["ansible_ssh_common_args"])
        self.address = variables["ansible_host"]

    def begin(self, user, *command, options=()):
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([*self.command, *options, f"{user}@{self.address}", *command], **pipes)

    def __call__(self, user, *command, options=()):
        with self.begin(user, *command, options=options) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture(scope="module")
def come(host):
    return Come(host.ansible.get_variables())


def test_the_machine_is_well(host):
    assert host.check_output("systemctl is-system-running --wait || true") == "running", host.run(
        "systemctl --failed --no-legend"
    ).stdout


# accounts


def test_files_are_private_and_an_idle_shell_ends(host, user):
    """Who tries to have no end to it is refused, and bash runs nothing after that."""
    command = "umask; echo $TMOUT; TMOUT=0; echo $TMOUT"
    login = host.run(f"su --login {user} --command {shlex.quote(command)}")
    assert login.stdout.split() == ["0027", "600"] and "readonly" in login.stderr


def test_a_home_is_closed_to_others_also_one_that_was_open(host, user):
    assert host.run(as_user(user, "ls /home/bob")).rc != 0
    assert host.run(as_user("bob", f"ls /home/{user}")).rc != 0
    assert host.run(as_user("bob", "ls /home/bob")).rc == 0


def test_nobody_becomes_another_user_by_su(host, user):
    host.check_output(f"echo '{user}:{GOOD}' | chpasswd")
    refused = host.run(as_user("bob", f"sh -c \"echo '{GOOD}' | su {user} --command true\""))
    assert refused.rc != 0 and "Permission denied" in refused.stderr
    host.check_output("usermod --append --groups sugroup bob")
    allowed = host.run(as_user("bob", f"sh -c \"echo '{GOOD}' | su {user} --command true\""))
    host.check_output("gpasswd --delete bob sugroup")
    assert allowed.rc == 0, allowed.stderr


def test_an_account_ends_some_time_after_its_password(host, user):
    assert host.check_output(f"getent shadow {user}").split(":")[3:7] == ["1", "365", "7", "45"]


def test_whoever_comes_by_key_stays_when_a_password_has_run_out(host, come):
    host.check_output("chage --maxdays 365 --lastday 2001-01-01 ann")
    came = come("ann", "sudo", "id", "-u")
    host.check_output("chage --lastday $(date +%F) ann")
    assert came.stdout.strip() == "0", came.stderr


def test_what_an_administrator_decided_about_umasks_stays(host):
    shell = "env LOGNAME={} bash -ic umask"
    assert [host.run(shell.format(name)).stdout.strip() for name in ("nobody", "root")] == ["0077", "0027"]


# accounting


def test_a_program_that_ran_is_on_record(host, container):
    if container:
        pytest.skip("the kernel's records belong to the host of this container")
    host.check_output("cp /bin/true /usr/local/bin/ran-once && ran-once && rm /usr/local/bin/ran-once")
    assert "ran-once" in host.check_output("lastcomm ran-once")


# aide


def test_a_changed_program_is_noticed(host):
    host.run("rm -f /usr/local/sbin/dropped")
    host.check_output("systemctl start aidecheck.service")
    host.check_output("echo true >/usr/local/sbin/dropped && chmod +x /usr/local/sbin/dropped")
    assert host.run("systemctl start aidecheck.service").rc != 0
    told = host.check_output("journalctl --unit=aidecheck.service --output=cat --no-pager")
    host.check_output("rm /usr/local/sbin/dropped; systemctl reset-failed aidecheck.service")
    assert "/usr/local/sbin/dropped" in told


def test_it_is_looked_for_by_itself(host):
    assert host.service("aidecheck.timer").is_running


# apparmor, auditd


def test_programs_are_confined_where_the_kernel_can(host, container):
    if container:
        pytest.skip("a container cannot load profiles into its host's kernel")
    assert int(host.check_output("aa-status --enforced")) > 0


def test_a_changed_identity_is_on_record(host, container):
    if container:
        pytest.skip("the kernel's audit belongs to the host of this container")
    host.check_output("touch /etc/gshadow")
    assert "/etc/gshadow" in host.check_output("sleep 2; ausearch --input-logs --key identity --interpret | tail -20")


def test_a_rule_that_another_file_has_is_there_once_and_those_after_it_are_loaded(host, container):
    rules = host.check_output("cat /etc/audit/rules.d/*.rules").splitlines()
    assert [" ".join(rule.split()) for rule in rules].count("-w /etc/passwd -p wa -k identity") == 1
    assert container or "path=/usr/bin/su " in host.check_output("auditctl -l")


@pytest.mark.parametrize("unit", ["auditd", "acct"])
def test_what_records_by_the_kernel_does_not_fail_where_it_cannot_run(host, container, unit):
    if not container:
        pytest.skip("it runs here")
    assert host.check_output(f"systemctl show --property=ActiveState --value {unit}.service") == "inactive"


# banners


def test_who_comes_is_warned_before_logging_in(host):
    warned = host.run(ssh("-o PreferredAuthentications=none")).stderr
    assert "Authorised" in warned
    assert "Debian" not in warned


# coredumps


def test_a_crash_leaves_no_core(host, user):
    assert host.run(as_user(user, "su --login carla --command 'ulimit -c unlimited'")).rc != 0
    host.check_output("rm -rf /tmp/crash && install -d -m 0777 /tmp/crash")
    crash = "cd /tmp/crash && sleep 60 & kill -SEGV $!; wait"
    host.run(f"systemd-run --wait --quiet /bin/sh -c {shlex.quote(crash)}")
    assert host.check_output("ls -A /tmp/crash") == ""
    assert host.check_output("systemctl show --property=LimitCORE --value ssh.service") == "0"


# cron


def test_only_those_with_jobs_plan_jobs(host, user):
    assert host.check_output(as_user("bob", "crontab -l")) == "0 5 * * * true"
    refused = host.run(as_user(user, "crontab -l"))
    assert refused.rc != 0 and "not allowed" in refused.stderr


def test_only_those_with_jobs_plan_jobs_of_at(host, name, user):
    if name != "bastion":
        pytest.skip("another machine has at")
    plan = "sh -c 'cd / && echo true | at now + 1 year'"
    assert host.run(as_user("bob", plan)).rc == 0
    refused = host.run(as_user(user, plan))
    assert refused.rc != 0 and "do not have permission" in refused.stderr


def test_whoever_a_list_of_today_names_plans_jobs(host, name):
    if name != "trixie":
        pytest.skip("another machine has the list")
    assert "no crontab for dora" in host.run(as_user("dora", "crontab -l")).stderr


# debsums


def test_a_file_that_is_not_as_debian_ships_it_is_on_record(host):
    host.check_output("cp -p /usr/sbin/dump-acct /root/kept && echo >>/usr/sbin/dump-acct")
    try:
        host.check_output("run-parts --regex '^debsums$' /etc/cron.weekly")
    finally:
        host.check_output("mv /root/kept /usr/sbin/dump-acct")
    assert "/usr/sbin/dump-acct" in host.check_output("journalctl --identifier=debsums --output=cat --no-pager")


# firewall


def test_a_port_that_nobody_asked_for_is_closed(host, address):
    server = "python3 -m http.server 8099 --directory /var/empty"
    host.run("mkdir -p /var/empty; systemctl stop listener; systemctl reset-failed listener")
    host.check_output(f"systemd-run --quiet --unit=listener {server}")
    here = "import socket; socket.create_connection(('127.0.0.1', 8099), timeout=2)"
    host.check_output(f"sleep 2; python3 -c {shlex.quote(here)}")
    with pytest.raises(OSError), socket.create_connection((address, 8099), timeout=3):
        pass
    host.check_output("systemctl stop listener")


# journald


def test_the_journal_is_kept(host):
    assert len(host.check_output("journalctl --list-boots --no-pager").splitlines()) > 1


def test_logs_are_not_for_everybody_also_after_a_boot_and_a_rotation(host, user):
    # As the files of packages have logrotate make them.
    host.check_output("cd /var/log && touch other.log && chown root:root dpkg.log && chmod 0644 dpkg.log other.log")
    host.check_output("systemctl start --wait logrotate.service")
    assert host.file("/var/log/dpkg.log").group == "adm"
    readable = host.check_output("cd / && " + as_user(user, "find /var/log -maxdepth 1 -type f -readable"))
    assert readable == "", readable


# modules


@pytest.mark.parametrize("module", ["cramfs", "usb-storage", "dccp", "rds"])
def test_a_blocked_module_stays_out(host, module):
    shown = host.check_output(f"modprobe --show-config | grep 'install {module.replace('-', '_')} '")
    assert shown.endswith("/bin/false")


# mounts


def test_nothing_runs_from_shared_memory_but_from_tmp(host):
    for directory, code in (("/dev/shm", 126), ("/tmp", 0)):  # noqa: S108
        host.check_output(f"cp /bin/true {directory}/dropped")
        assert host.run(f"{directory}/dropped").rc == code, directory
        host.check_output(f"rm {directory}/dropped")


def test_shared_memory_keeps_its_size(host):
    assert "size=80%" in host.check_output("findmnt --fstab --noheadings --output OPTIONS /dev/shm").split(",")


# needrestart


def test_whoever_updates_is_told_what_runs_on_replaced_files_and_nothing_is_restarted(host, name):
    """At a terminal, too, where it would otherwise ask, and wait for an answer."""
    if name == "bookworm":
        pytest.skip("needrestart brings an assembler along there")
    process = "systemctl show --property=MainPID --value rsyslog.service"
    before = host.check_output(process)
    update = "TERM=vt100 apt-get -qq install --reinstall --yes libestr0"
    terminal = f"timeout 90 script --quiet --return --command '{update}' /dev/null < <(sleep 90 2>/dev/null)"
    told = host.check_output(f"bash -c {shlex.quote(terminal)}")
    after = host.check_output(process)
    host.check_output("systemctl restart rsyslog.service")
    assert "systemctl restart rsyslog.service" in told and before == after


# packages


def test_programs_that_speak_in_clear_text_are_gone(host):
    assert host.run("command -v telnet").rc != 0


def test_packages_can_still_be_installed(host):
    host.check_output("apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes hello >&2")
    assert host.check_output("hello") == "Hello, world!"
    host.check_output("DEBIAN_FRONTEND=noninteractive apt-get -qq purge --yes hello >&2")


# passwords


def test_a_bad_password_and_one_of_the_past_are_refused(host, user):
    for bad in ("short", "alllowercaseletters", "aaaaBBBB1111!!!!"):
        assert host.run(f"echo '{user}:{bad}' | chpasswd").rc != 0, bad
    host.check_output(f"echo '{user}:{GOOD}' | chpasswd")
    host.check_output(f"echo '{user}:{ANOTHER}' | chpasswd")
    assert host.run(f"echo '{user}:{GOOD}' | chpasswd").rc != 0


def test_guessing_locks_and_a_right_password_later_opens(host, user):
    host.check_output(f"echo '{user}:{GOOD}' | chpasswd && usermod --append --groups sugroup bob")
    right = as_user("bob", f"sh -c \"echo '{GOOD}' | su {user} --command true\"")
    assert host.run(right).rc == 0
    for _ in range(3):
        host.run(as_user("bob", f'sh -c "echo wrong | su {user} --command true"'))
    assert host.run(right).rc != 0
    host.check_output(f"faillock --user {user} --reset")
    for _ in range(3):
        assert host.run(right).rc == 0, "what was guessed before a right password still counts"
        for _ in range(2):
            host.run(as_user("bob", f'sh -c "echo wrong | su {user} --command true"'))
    host.check_output("gpasswd --delete bob sugroup")


def test_what_is_asked_for_beside_the_password_is_still_asked_for(host, user):
    """A second factor stands after what all services have in common."""
    host.check_output(f"echo '{user}:{GOOD}' | chpasswd && usermod --append --groups sugroup bob")
    host.check_output("sed -i.kept '/^@include common-auth/a auth required pam_deny.so' /etc/pam.d/su")
    opened = host.run(as_user("bob", f"sh -c \"echo '{GOOD}' | su {user} --command true\""))
    host.check_output("mv /etc/pam.d/su.kept /etc/pam.d/su && gpasswd --delete bob sugroup")
    assert opened.rc != 0


def test_an_empty_password_opens_nothing(host, user):
    host.check_output(f"passwd --delete {user}; usermod --append --groups sugroup bob")
    opened = host.run(as_user("bob", f'sh -c "echo | su {user} --command true"'))
    host.check_output("gpasswd --delete bob sugroup")
    assert opened.rc != 0


# sshd


def test_a_password_is_not_even_asked_for(host):
    assert "Permission denied (publickey)" in host.run(ssh("-o PreferredAuthentications=none")).stderr


def test_nothing_that_stands_above_or_below_weakens_it(host):
    assert "x11forwarding no" in host.check_output("sshd -T").splitlines()


def test_no_former_settings_wait_to_come_back(host):
    assert not host.file("/etc/ssh/sshd_config.former").exists
    assert host.check_output("systemctl is-active hardening-sshd-revert.timer || true") == "inactive"


def test_weak_ciphers_and_exchanges_are_refused(host):
    for option in ("-o Ciphers=aes128-cbc", "-o KexAlgorithms=diffie-hellman-group14-sha1", "-o MACs=hmac-sha1"):
        cipher = "" if "Ciphers" in option else "-o Ciphers=aes256-ctr"
        assert "no matching" in host.run(ssh(f"{option} {cipher}")).stderr.lower(), option


def test_who_tries_one_key_after_the_other_is_sent_away(come, tmp_path):
    wrong = []
    for number in range(3):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/{number}"], check=True)
        wrong += ["-i", f"{tmp_path}/{number}"]
    stranger = copy.copy(come)
    program, *right = come.command
    stranger.command = [program, *wrong[:4], *right]
    assert stranger("ann", "true").returncode == 0
    stranger.command = [program, *wrong, *right]
    assert "Too many authentication failures" in stranger("ann", "true").stderr


def test_an_administrator_by_sudoers_d_still_comes_in(come):
    assert come("ann", "sudo", "id", "-u").stdout.strip() == "0"


def test_where_a_group_is_named_only_its_members_come_in(come, name):
    """Ann was put into it as an administrator of that day; bob has a key as well."""
    came = come("bob", "id", "-un")
    assert came.stdout.strip() == ("" if name == "bastion" else "bob"), came.stderr


def test_only_a_bastion_forwards_connections(come, name):
    assert ("SSH-2.0" in come("ann", options=("-W", "127.0.0.1:22")).stdout) == (name == "bastion")


def test_a_second_session_in_one_connection_is_possible_and_a_third_is_not(come, tmp_path):
    """Ansible has one for its module and at times one for a file."""
    shared = ("-o", "ControlMaster=auto", "-o", f"ControlPath={tmp_path}/shared", "-o", "ControlPersist=20")
    assert come("ann", "true", options=shared).returncode == 0
    with come.begin("ann", "sleep 8", options=shared), come.begin("ann", "sleep 8", options=shared):
        time.sleep(2)
        third = come("ann", "true", options=shared)
    assert "Session open refused" in third.stderr and third.returncode == 0, third.stderr


# sudo


def test_sudo_keeps_a_log(host):
    host.check_output(as_user("ann", "sudo --non-interactive /usr/bin/true"))
    assert "ann" in host.check_output("tail -3 /var/log/sudo.log")


# sysctl


def test_redirects_are_not_believed_and_nothing_is_forwarded(host, address):
    interface = host.check_output(f"ip -oneline address show to {address}").split()[1]
    for parameter, value in (
        ("net/ipv4/conf/all/accept_redirects", "0"),
        (f"net/ipv4/conf/{interface}/accept_redirects", "0"),
        ("net/ipv4/ip_forward", "0"),
        (f"net/ipv4/conf/{interface}/rp_filter", "1"),
        ("net/ipv4/tcp_syncookies", "1"),
        ("net/ipv6/conf/all/accept_ra", "0"),
        (f"net/ipv6/conf/{interface}/accept_ra", "0"),
    ):
        if "ipv4" in parameter or host.file(f"/proc/sys/{parameter}").exists:
            assert host.check_output(f"cat /proc/sys/{parameter}") == value, parameter


def test_no_other_file_has_the_last_word_when_the_machine_boots(host):
    file, last = "", {}
    for line in host.check_output("/usr/lib/systemd/systemd-sysctl --cat-config").splitlines():
        if line.startswith("# /"):
            file = line[2:]
        elif "=" in line and not line.startswith("#"):
            parameter, _, value = line.partition("=")
            last[parameter.strip().removeprefix("-").replace("/", ".")] = (file, value.strip())
    ours = "/etc/sysctl.d/90-hardening.conf"
    assert last["fs.protected_fifos"] == (ours, "2")
    written = host.check_output(f"sed -En 's/^-?([^# =]+) *=.*/\\1/p' {ours}").replace("/", ".").split()
    assert {name: last[name] for name in written if last[name][0] != ours} == {}


def test_the_kernel_hides_its_addresses(host, container):
    if container:
        pytest.skip("the parameters that are not of the network belong to the host of this container")
    assert host.check_output("sysctl --values kernel.kptr_restrict kernel.dmesg_restrict").split() == ["2", "1"]


# syslog


def test_a_login_is_on_record_beside_the_journal_and_sent_away(host, user):
    # rsyslog may open more than one connection, and tries one before it uses it.
    take = "type('Take', (StreamRequestHandler,), {'handle': lambda s: [out.write(line) for line in s.rfile]})"
    listen = "from socketserver import *; out = open('/tmp/sent', 'ab', 0); TCPServer.allow_reuse_address = True; "
    listen += f"ThreadingTCPServer(('127.0.0.1', 5140), {take}).serve_forever()"
    host.run("systemctl stop listener; systemctl reset-failed listener; rm -f /tmp/sent")
    host.check_output(f"systemd-run --quiet --unit=listener python3 -c {shlex.quote(listen)}")
    host.check_output("logger --priority auth.notice --tag molecule a record to be kept")
    host.check_output("for i in $(seq 90); do grep -q 'to be kept' /tmp/sent && exit; sleep 1; done; exit 1")
    host.check_output("systemctl stop listener")
    assert "a record to be kept" in host.check_output("tail -50 /var/log/auth.log")
    assert host.run(as_user(user, "cat /var/log/auth.log")).rc != 0


# time


def test_the_clock_is_kept(host, container):
    if container:
        pytest.skip("the clock belongs to the host of this container")
    assert host.service("systemd-timesyncd.service").is_running
    assert "debian.pool.ntp.org" in host.check_output("timedatectl show-timesync --property=SystemNTPServers")


# what does not apply


def check(name, directory, *arguments):
    """What the role says in check mode that it would do."""
    scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
    play = {"hosts": name, "gather_facts": False, "vars_files": [f"{scenario}/vars/hardening.yml"]}
    play["roles"] = ["hybrid.platform.hardening"]
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    inventory = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "machines/inventory.yml"
    command = [Path(sys.executable).parent / "ansible-playbook", "--inventory", inventory, "--check", *arguments]
    return subprocess.run([*command, directory / "play.yml"], capture_output=True, text=True, check=True).stdout


def test_what_does_not_apply_is_told_with_its_reason(name, container, tmp_path):
    told = check(name, tmp_path, "--tags", "none")
    controls = {"accounting", "apparmor", "auditd", "modules", "time"} if container else set()
    controls |= {"needrestart"} if name == "bookworm" else set()
    assert set(re.findall(r'"(\w+): \w', told)) == controls, told


def test_who_lives_by_what_a_router_announces_goes_on(host, name, tmp_path):
    """By a router in a network of its own, whose announcement the kernel itself takes."""
    announce = """import socket as s, struct
router = s.socket(s.AF_INET6, s.SOCK_RAW, s.IPPROTO_ICMPV6)
router.setsockopt(s.IPPROTO_IPV6, s.IPV6_MULTICAST_HOPS, 255)
router.sendto(struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0), ("ff02::1", 0, 0, s.if_nametoindex("router")))
"""
    inside = "nsenter --net --target $(systemctl show --property=MainPID --value router)"
    try:
        host.check_output("systemd-run --quiet --unit=router --property=PrivateNetwork=yes sleep 600")
        host.check_output("ip link add announced type veth peer name router")
        host.check_output("ip link set router netns $(systemctl show --property=MainPID --value router)")
        # What the role has set for interfaces that come later.
        for setting in ("accept_ra", "accept_ra_defrtr"):
            host.check_output(f"sysctl --write net.ipv6.conf.announced.{setting}=1")
        host.check_output("ip link set announced up && " + inside + " ip link set router up")
        host.check_output(
            f"for i in $(seq 20); do {inside} python3 -c {shlex.quote(announce)}; sleep 1; "
            "ip -6 route | grep -q 'default.*announced' && exit; done; ip -6 address; exit 1"
        )
        told = check(name, tmp_path, "--tags", "sysctl", "--diff")
    finally:
        host.run("ip link delete announced; systemctl stop router")
    assert "sysctl: this machine's way out over IPv6" in told
    assert "-net.ipv6.conf.default.accept_ra = 0" in told
    assert "accept_ra" not in check(name, tmp_path, "--tags", "sysctl", "--diff")


# profiles


def test_the_database_goes_on(host, name):
    if name != "bookworm":
        pytest.skip("the machine of the profile `database` has one")
    query = (
        "CREATE TEMP TABLE t AS SELECT generate_series(1, 300000) AS n; SET max_parallel_workers_per_gather = 2; "
        "SET min_parallel_table_scan_size = 0; SELECT count(*) FROM pg_class, generate_series(1, 1000)"
    )
    assert int(host.check_output(as_user("postgres", f"psql --quiet --tuples-only --command {shlex.quote(query)}"))) > 0
