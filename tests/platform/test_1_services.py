"""The workloads run where they were placed, and answer."""

import base64
import json

import pytest

pytestmark = pytest.mark.looks_only


def test_the_database_runs_on_its_machine_with_data_on_the_data_disk(platform):
    ledger = platform.host("ledger-0")
    assert ledger.service("postgresql@17-main").is_running
    assert ledger.mount_point("/srv/data").exists
    assert ledger.mount_point("/srv/data").filesystem == "ext4"
    where = ledger.check_output("runuser -u postgres -- psql -XAtc 'show data_directory'")
    assert where.startswith("/srv/data/"), f"PostgreSQL keeps its data in {where}"


def test_the_legacy_service_runs_on_the_older_release(platform):
    tariffs = platform.host("tariffs-0")
    assert (tariffs.system_info.distribution, tariffs.system_info.release.split(".")[0]) == ("debian", "12")
    assert tariffs.service("tariffs").is_running
    assert tariffs.service("tariffs").is_enabled


def test_no_machine_has_a_failed_unit(platform):
    for name in platform.inventory["all"]["hosts"]:
        failed = platform.host(name).check_output("systemctl list-units --state=failed --no-legend --plain")
        assert failed == "", f"on {name}: {failed}"


def test_the_web_service_reaches_the_database_the_tariffs_and_the_sandbox(platform):
    assert platform.request("/readyz").status == 200
    price = platform.request("/price?currency=EUR")
    assert price.status == 200 and price.body["rate"] > 0, price
    assert platform.request("/").status == 200


def test_the_untrusted_worker_sees_the_kernel_of_its_sandbox(platform):
    page = platform.request("/").body
    node_kernel = platform.host("cluster-0").check_output("uname -r")
    assert "gvisor" in page, "the page names the sandbox's kernel; it should be gVisor's"
    assert f"worker {node_kernel}" not in page


def test_every_workload_runs_by_digest_unprivileged_and_read_only(platform):
    for workload in ("web", "worker"):
        pods = platform.objects("pods", "--namespace", workload)
        assert pods, f"no pods in {workload}"
        for pod in pods:
            spec, (container,) = pod["spec"], pod["spec"]["containers"]
            assert "@sha256:" in container["image"]
            assert spec["securityContext"]["runAsNonRoot"] is True
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
            assert "memory" in container["resources"]["limits"]


def test_the_worker_runs_under_the_gvisor_runtime_class_and_the_web_service_has_users_of_its_own(platform):
    (worker,) = platform.objects("pods", "--namespace", "worker")
    assert worker["spec"]["runtimeClassName"] == "gvisor"
    assert all(pod["spec"]["hostUsers"] is False for pod in platform.objects("pods", "--namespace", "web"))


def test_secrets_are_encrypted_in_etcd(platform):
    (password,) = [
        secret["data"]["ledger-password"]
        for secret in platform.objects("secrets", "--namespace", "web")
        if "ledger-password" in secret.get("data", {})
    ]
    clear = base64.b64decode(password).decode()
    node = platform.host("cluster-0")
    etcd = "/var/lib/etcd/kubernetes/member"
    count = f"cat {etcd}/snap/db {etcd}/wal/*.wal | grep --text --count --fixed-strings %s"
    assert node.run(f"test -s {etcd}/snap/db").rc == 0, "etcd keeps its data elsewhere now"
    assert node.run(count, clear).stdout.strip() == "0", "the database password is in clear in etcd's files"
    assert int(node.run(count, "k8s:enc:secretbox:v1:").stdout) > 0, "etcd holds nothing encrypted"


def test_the_audit_log_is_written(platform):
    last = platform.host("cluster-0").check_output("tail -n 1 /var/log/kubernetes/audit.log")
    assert json.loads(last)["kind"] == "Event"
