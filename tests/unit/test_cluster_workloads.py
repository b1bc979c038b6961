"""What the role cluster_workloads asks of a cluster, rendered as Ansible renders it."""

import base64
import json
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.local_play import ansible_playbook

ROLE = Path(__file__).parents[2] / "roles" / "cluster_workloads"
DIGEST = "sha256:" + "0" * 64
WORKLOADS = [
    {
        "name": "web",
        "image": f"localhost/reference/web@{DIGEST}",
        "image_pull_policy": "Never",
        "replicas": 2,
        "cpu": 0.25,
        "memory": 64 * 2**20,
        "ports": [8080, 9090],
        "public": True,
        "node_port": 30080,
        "environment": {"LEDGER_PORT": 6432, "NOTE": 'a "quoted": value'},
        "secrets": {"ledger-password": "p: \"' 1 + 1"},
        "talks_to_pods": [{"name": "price-worker", "port": 8081}],
        "talks_to_addresses": [{"name": "ledger", "address": "10.10.0.10", "port": 5432}],
    },
    {
        "name": "price-worker",
        "image": f"localhost/reference/worker@{DIGEST}",
        "runtime": "microvm",
        "cpu": 0.1,
        "memory": 128 * 2**20,
        "ports": [8081],
        "callers": ["web"],
    },
    {"name": "silent", "image": f"x@{DIGEST}", "cpu": 1, "memory": 2**20, "disk": 2**30},
]


def render(folder, *options, **known):
    """Every object that the role would apply, by kind, namespace and name."""
    authority = folder / "authority.crt"
    authority.write_text("-----BEGIN CERTIFICATE-----\n")
    given = {
        "cluster_workloads": [WORKLOADS[0] | {"secret_files": {"ledger-ca": str(authority)}}, *WORKLOADS[1:]],
        "ansible_python_interpreter": sys.executable,
        "cluster_workloads_platform": "reference",
        "cluster_workloads_user_namespaces": True,
        "cluster_workloads_pod_cidr": "10.244.0.0/16",
    } | known
    (folder / "given.yml").write_text(yaml.safe_dump(given))
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml"), str(folder / "given.yml")],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "dest": str(folder / "{{ item }}.yml"),
                    "content": "{{ lookup('ansible.builtin.template', '"
                    + str(ROLE)
                    + "/templates/' ~ item ~ '.yml.j2') }}",
                    "mode": "0600",
                },
                "loop": ["rooms", "secrets", "workloads"],
                "check_mode": False,
            }
        ],
    }
    run = ansible_playbook(folder, play, *options)
    assert run.returncode == 0, run.stdout + run.stderr
    objects = {}
    for part in ("rooms", "secrets", "workloads"):
        for thing in yaml.safe_load_all((folder / f"{part}.yml").read_text()):
            key = (thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"])
            assert key not in objects, f"{key} is there twice"
            objects[key] = thing
    return objects


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    return render(tmp_path_factory.mktemp("render"))


def test_a_check_asks_only_about_workloads_that_have_a_namespace(tmp_path):
    """The API server finds no namespace for the rest of a new one, which a check does not make."""
    there = [{"metadata": {"name": "web"}}, {"metadata": {"name": "gone"}}]
    found = render(tmp_path, "--check", __cluster_workloads_namespaces={"resources": there})
    assert {name if kind == "Namespace" else namespace for kind, namespace, name in found} == {"web"}


@pytest.mark.parametrize(
    "fault",
    [{"name": "kube-system"}, {"image": "localhost/web:latest"}, {"cpu": "much"}, {"replicas": ["one"]}],
    ids=["reserved name", "no digest", "no number", "no count"],
)
def test_a_refused_workload_does_not_tell_its_secrets(tmp_path, fault):
    given = {
        "ansible_python_interpreter": sys.executable,
        "cluster_workloads": [WORKLOADS[0] | {"secrets": {"ledger-password": "do-not-tell"}} | fault],
        "cluster_workloads_platform": "reference",
        "cluster_workloads_kubeconfig": str(tmp_path / "none"),
    }
    play = {"hosts": "localhost", "gather_facts": False, "vars": given, "roles": ["hybrid.platform.cluster_workloads"]}
    run = ansible_playbook(tmp_path, play, "-vv")
    assert run.returncode != 0
    assert "Refuse" in run.stdout or "Validating arguments" in run.stdout, "it failed for another reason"
    assert "do-not-tell" not in run.stdout + run.stderr


def pod(rendered, name):
    return rendered["Deployment", name, name]["spec"]["template"]["spec"]


def container(rendered, name):
    (only,) = pod(rendered, name)["containers"]
    return only


def flows(rendered, name):
    return rendered["NetworkPolicy", name, "flows"]["spec"]


def test_every_object_can_be_found_again_for_pruning(rendered):
    for key, thing in rendered.items():
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "hybrid-platform", key
        assert labels["app.kubernetes.io/part-of"] == "reference", key


@pytest.mark.parametrize("name", ["web", "price-worker", "silent"])
def test_every_workload_lives_behind_closed_doors(rendered, name):
    labels = rendered["Namespace", "", name]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    deny = rendered["NetworkPolicy", name, "default-deny"]["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert flows(rendered, name)["policyTypes"] == ["Ingress", "Egress"]
    assert rendered["ServiceAccount", name, name]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", ["web", "price-worker", "silent"])
def test_every_pod_has_only_the_rights_it_needs(rendered, name):
    spec, only = pod(rendered, name), container(rendered, name)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(only["resources"]["limits"]) == {"cpu", "memory"}


def test_only_declared_callers_get_in(rendered):
    (rule,) = flows(rendered, "price-worker")["ingress"]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "web"}
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "web"}
    assert rule["ports"] == [{"protocol": "TCP", "port": 8081}]
    silent = flows(rendered, "silent")
    assert "Ingress" in silent["policyTypes"] and "ingress" not in silent


def test_public_means_the_first_port_and_not_the_other_pods(rendered):
    (rule,) = flows(rendered, "web")["ingress"]
    assert rule["from"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]}}]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]
    service = rendered["Service", "web", "web"]["spec"]
    assert service["type"] == "NodePort"
    assert [port.get("nodePort") for port in service["ports"]] == [30080, None]
    assert rendered["Service", "price-worker", "price-worker"]["spec"]["type"] == "ClusterIP"


def test_only_declared_peers_can_be_reached(rendered):
    dns, worker, ledger = flows(rendered, "web")["egress"]
    assert dns["to"][0]["podSelector"]["matchLabels"] == {"k8s-app": "kube-dns"}
    assert worker["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "price-worker"}
    assert worker["ports"] == [{"protocol": "TCP", "port": 8081}]
    assert ledger == {"to": [{"ipBlock": {"cidr": "10.10.0.10/32"}}], "ports": [{"protocol": "TCP", "port": 5432}]}
    assert len(flows(rendered, "price-worker")["egress"]) == 1, "nothing but DNS"


def test_the_runtime_decides_the_wall(rendered):
    assert pod(rendered, "price-worker")["runtimeClassName"] == "gvisor"
    assert "hostUsers" not in pod(rendered, "price-worker"), "the sandbox does not support user namespaces"
    assert pod(rendered, "web")["hostUsers"] is False
    assert "runtimeClassName" not in pod(rendered, "web")


def test_a_container_finds_its_peers_and_may_be_told_otherwise(rendered):
    found = {variable["name"]: variable["value"] for variable in container(rendered, "web")["env"]}
    assert found == {
        "PORT": "8080",
        "PRICE_WORKER_HOST": "price-worker.price-worker.svc",
        "PRICE_WORKER_PORT": "8081",
        "LEDGER_HOST": "10.10.0.10",
        "LEDGER_PORT": "6432",
        "LEDGER_PASSWORD_FILE": "/run/secrets/workload/ledger-password",
        "LEDGER_CA_FILE": "/run/secrets/workload/ledger-ca",
        "NOTE": 'a "quoted": value',
    }


def test_secrets_come_as_files_exactly_as_given_and_nowhere_else(rendered):
    data = rendered["Secret", "web", "workload"]["data"]
    assert base64.b64decode(data["ledger-password"]).decode() == "p: \"' 1 + 1"
    assert base64.b64decode(data["ledger-ca"]).decode() == "-----BEGIN CERTIFICATE-----\n"
    assert rendered["Secret", "price-worker", "workload"]["data"] == {}
    mounts = {mount["name"]: mount for mount in container(rendered, "web")["volumeMounts"]}
    assert mounts["secrets"]["mountPath"] == "/run/secrets/workload" and mounts["secrets"]["readOnly"] is True
    others = [thing for key, thing in rendered.items() if key[0] != "Secret"]
    assert "1 + 1" not in json.dumps(others)


def millicores(text):
    return int(text.removesuffix("m"))


@pytest.mark.parametrize("name", ["web", "price-worker", "silent"])
def test_the_quota_fits_a_rollout_and_not_much_more(rendered, name):
    quota = rendered["ResourceQuota", name, "workload"]["spec"]["hard"]
    resources, replicas = container(rendered, name)["resources"], rendered["Deployment", name, name]["spec"]["replicas"]
    for kind in ("requests", "limits"):
        pods_by_cpu = millicores(quota[f"{kind}.cpu"]) / millicores(resources[kind]["cpu"])
        pods_by_memory = int(quota[f"{kind}.memory"]) / int(resources[kind]["memory"])
        assert replicas + 1 <= pods_by_cpu == pods_by_memory <= replicas + 2


def test_a_workload_without_ports_has_no_service_and_no_probes(rendered):
    assert ("Service", "silent", "silent") not in rendered
    assert not {"livenessProbe", "readinessProbe", "startupProbe"} & set(container(rendered, "silent"))


def test_a_disk_is_claimed_mounted_and_never_shared_by_two_pods(rendered):
    claim = rendered["PersistentVolumeClaim", "silent", "data"]["spec"]
    assert claim["resources"]["requests"]["storage"] == str(2**30)
    assert {"name": "data", "mountPath": "/data"} in container(rendered, "silent")["volumeMounts"]
    assert rendered["Deployment", "silent", "silent"]["spec"]["strategy"] == {"type": "Recreate"}
    assert rendered["Deployment", "web", "web"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_the_cluster_brings_nothing_that_the_workload_did_not_ask_for(rendered):
    assert rendered["ResourceQuota", "web", "workload"]["spec"]["hard"]["persistentvolumeclaims"] == "0"
    assert rendered["ResourceQuota", "price-worker", "workload"]["spec"]["hard"]["services.nodeports"] == "0"
