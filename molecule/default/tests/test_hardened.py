"""What a hardened machine does, tried on it."""

import pytest


def test_the_machine_is_well(host):
    assert host.check_output("systemctl is-system-running || true") == "running"


def test_a_password_is_not_even_asked_for(host):
    ssh = "ssh -o StrictHostKeyChecking=no -o PreferredAuthentications=none root@127.0.0.1"
    answer = host.run(f"{ssh} true || true").stderr
    assert "Permission denied (publickey)" in answer


def test_a_connection_with_a_weak_cipher_or_exchange_is_refused(host):
    for option in (
        "Ciphers=aes128-cbc",
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "Ciphers=aes256-ctr -o MACs=hmac-sha1",
    ):
        answer = host.run(f"ssh -o StrictHostKeyChecking=no -o {option} root@127.0.0.1 true || true").stderr
        assert "no matching" in answer.lower(), f"{option}: {answer}"


def test_nothing_runs_from_shared_memory(host):
    host.check_output("cp /bin/true /dev/shm/dropped")
    assert host.run("/dev/shm/dropped").rc == 126  # noqa: S108


def test_a_crash_leaves_no_core(host):
    assert host.check_output("runuser -u nobody -- /bin/sh -c 'ulimit -Hc'") in ("0", "unlimited")
    assert host.check_output("grep -h DefaultLimitCORE /etc/systemd/system.conf.d/*") == "DefaultLimitCORE=0"
    assert host.check_output("systemctl show --property=LimitCORE --value ssh.service") == "0"


@pytest.mark.parametrize("module", ["cramfs", "usb-storage", "dccp"])
def test_a_blocked_module_stays_out(host, module):
    shown = host.check_output(f"modprobe --show-config | grep 'install {module.replace('-', '_')} '")
    assert shown.endswith("/bin/false")


def test_redirects_are_not_believed_also_after_a_reboot(host):
    assert host.check_output("cat /proc/sys/net/ipv4/conf/all/accept_redirects") == "0"
    assert host.check_output("cat /proc/sys/net/ipv4/ip_forward") == "0"


def test_a_short_password_is_refused_and_guessing_locks(host):
    host.run("userdel --remove guessed; useradd --create-home guessed")
    assert host.run("echo 'guessed:short' | chpasswd").rc != 0
    host.check_output("echo 'guessed:vT7#qLm2!zRw9@Kd' | chpasswd")
    for _ in range(3):
        host.run("echo wrong | runuser -u nobody -- su guessed -c true")
    assert host.run("faillock --user guessed").rc == 0
    host.check_output("userdel --remove guessed")


def test_the_journal_is_kept(host):
    assert host.check_output("ls /var/log/journal")
    assert len(host.check_output("journalctl --list-boots --no-pager").splitlines()) > 1


def test_a_machine_reaches_where_its_packages_come_from(host):
    assert host.run("apt-get --quiet --option APT::Update::Error-Mode=any update").rc == 0
