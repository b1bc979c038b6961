"""Two nodes, one cluster: what pods reach over the machines' network, and what they do not."""

import base64
import json
import os
import socket
import ssl
import subprocess
import urllib.request
from functools import cache
from pathlib import Path

import pytest
import yaml
from kubernetes.utils.quantity import parse_quantity

MACHINES = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "machines"
NODES = ("bookworm", "trixie")
FOR_PODS = {"bookworm": 1280 - 384, "trixie": 2304 - 384}
"""MiB: what molecule.yml gives a machine, less what variables.py keeps from pods."""


def kubectl(*arguments, check=True, stdin=""):
    command = [MACHINES / "programs/kubectl", "--kubeconfig", MACHINES / "kubeconfig", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    assert not check or done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
    return done


def items(*arguments):
    return json.loads(kubectl("get", *arguments, "--output=json").stdout)["items"]


@cache
def pods(workload):
    """The pods of a workload by the node on which each runs."""
    found = items("pods", "--namespace", workload, "--field-selector=status.phase=Running")
    return {pod["spec"]["nodeName"]: pod for pod in found}


def url(pod):
    return f"http://{pod['status']['podIP']}:8080/"


def ask(pod, *urls):
    """What each URL answered to a pod, or why it did not."""
    metadata = pod["metadata"]
    command = ["exec", "--namespace", metadata["namespace"], metadata["name"], "--", "/peer", "ask", *urls]
    return json.loads(kubectl(*command).stdout)


def names(answers):
    return [one.get("answer", {}).get("name") or one["error"] for one in answers]


@pytest.fixture(params=NODES)
def node(request):
    return request.param


def other(node):
    return NODES[1 - NODES.index(node)]


def machine(name):
    return json.loads((MACHINES / "inventory.yml").read_text())["all"]["hosts"][name]["ansible_host"]


def test_every_machine_is_well(host):
    assert host.check_output("systemctl is-system-running || true") == "running"


def test_the_programs_need_no_library_of_their_node(host):
    """They were compiled on another release, maybe a newer one."""
    kinds = host.run("for file in /usr/local/bin/*; do ldd $file 2>&1; done").stdout.splitlines()
    assert len(kinds) > 8 and all("not a dynamic executable" in kind or "statically linked" in kind for kind in kinds)


def test_every_node_is_ready():
    ready = {
        node["metadata"]["name"]: condition["status"]
        for node in items("nodes")
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    }
    assert ready == dict.fromkeys(NODES, "True")


@pytest.mark.parametrize("name", ["k8s.example.org", "2001:db8::5"])
def test_the_api_server_answers_to_a_name_that_came_later(name):
    """side_effect.yml has added it when the cluster ran."""
    (cluster,) = yaml.safe_load((MACHINES / "kubeconfig").read_text())["clusters"]
    authority = base64.b64decode(cluster["cluster"]["certificate-authority-data"]).decode()
    trusting = ssl.create_default_context(cadata=authority)
    with socket.create_connection((machine("trixie"), 6443), timeout=5) as plain:
        trusting.wrap_socket(plain, server_hostname=name).close()


def test_no_node_is_left_out_of_service_by_its_patching():
    """side_effect.yml has drained both, and looked at them each time."""
    nodes = items("nodes")
    assert [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")] == []
    evidence = [json.loads(file.read_text()) for file in MACHINES.parent.glob("evidence/drained/*.json")]
    found = {(one["host"], one["rebooted"]) for one in evidence if "host" in one}
    assert found == {(node, True) for node in NODES}


@pytest.mark.parametrize("workload", ["front", "back", "sandboxed", "stranger"])
def test_every_workload_runs_on_both_nodes(workload):
    assert sorted(pods(workload)) == sorted(NODES)


def test_a_pod_reaches_pods_on_its_own_node_and_on_the_other(node):
    there = [pods("back")[node], pods("back")[other(node)], pods("sandboxed")[other(node)]]
    answers = ask(pods("front")[node], *map(url, there))
    assert names(answers) == [pod["metadata"]["name"] for pod in there]


def test_a_service_is_found_by_its_name_and_sends_to_both_nodes(node):
    answers = ask(pods("front")[node], *["http://back.back.svc.cluster.local:8080/"] * 24)
    assert set(names(answers)) == {pod["metadata"]["name"] for pod in pods("back").values()}


def test_what_no_flow_allows_is_refused_on_both_nodes_and_between_them(node):
    """That the same pods answer where a flow allows it is shown by the tests above."""
    everybody = [*map(url, [*pods("back").values(), *pods("sandboxed").values(), *pods("front").values()])]
    # Whoever reaches the API server in clear text is told so.
    api = f"http://{machine('trixie')}:6443/"
    assert [one for one in ask(pods("stranger")[node], *everybody, api) if "answer" in one] == []
    # Only downstream: who is called may not call back.
    assert [one for one in ask(pods("back")[node], *map(url, pods("front").values())) if "answer" in one] == []


def test_a_pod_that_has_just_begun_is_as_closed_as_it_will_be(node):
    """The policy engine learns of a pod about a second after it began; this one asks as soon as it can."""
    (dns,) = [pod for pod in items("pods", "--namespace=kube-system") if pod["spec"]["nodeName"] == other(node)]
    forbidden = [f"http://{machine('trixie')}:6443/", f"http://{dns['status']['podIP']}:9153/metrics"]
    spec = dict(pods("stranger")[node]["spec"], restartPolicy="Never")
    (container,) = spec["containers"]
    spec["containers"] = [
        {key: container[key] for key in ("name", "image", "imagePullPolicy", "securityContext", "resources")}
        | {"args": ["ask", *forbidden]}
    ]
    spec["volumes"] = []
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"new-on-{node}", "namespace": "stranger"},
        "spec": spec,
    }
    kubectl("create", "--filename=-", stdin=json.dumps(pod))
    try:
        done = "--for=jsonpath={.status.phase}=Succeeded"
        kubectl("wait", done, "--timeout=60s", "--namespace=stranger", f"pod/new-on-{node}")
        answers = json.loads(kubectl("logs", "--namespace=stranger", f"new-on-{node}").stdout)
        assert len(answers) == len(forbidden)
        assert [one for one in answers if "answer" in one] == []
    finally:
        kubectl("delete", "--now", "--namespace=stranger", f"pod/new-on-{node}")


def test_a_public_workload_answers_on_every_node(node):
    with urllib.request.urlopen(f"http://{machine(node)}:30080/", timeout=5) as response:
        assert json.load(response)["name"] in {pod["metadata"]["name"] for pod in pods("front").values()}


def test_a_sandboxed_pod_has_a_kernel_of_its_own_on_every_node(node):
    (answer,) = ask(pods("front")[other(node)], url(pods("sandboxed")[node]))
    (plain,) = ask(pods("front")[other(node)], url(pods("back")[node]))
    assert "gvisor" in answer["answer"]["kernel"]
    assert "gvisor" not in plain["answer"]["kernel"]


def test_users_of_pods_are_nobody_on_the_node(host):
    users = host.check_output("stat --format=%u $(pgrep -x peer | sed 's#^#/proc/#')").split()
    assert users and all(int(user) > 2**16 for user in users), users


def test_a_node_takes_only_pods_for_which_its_machine_has_memory(node):
    (found,) = [one for one in items("nodes") if one["metadata"]["name"] == node]
    allocatable = parse_quantity(found["status"]["allocatable"]["memory"]) // 2**20
    # Less what is evicted for, and what a real VM's kernel keeps.
    assert FOR_PODS[node] - 200 <= allocatable <= FOR_PODS[node], allocatable


def test_after_a_run_that_failed_on_the_way_the_kubelet_has_its_settings(node):
    configured = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/configz").stdout)
    assert configured["kubeletconfig"]["evictionHard"] == {"memory.available": "77Mi"}


def test_a_volume_is_a_directory_of_its_node():
    (pod,) = pods("keeper").values()
    assert pod["spec"]["nodeName"] == "bookworm"
    (claim,) = items("persistentvolumeclaims", "--namespace=keeper")
    assert (claim["status"]["phase"], claim["spec"]["volumeName"]) == ("Bound", "keeper")


def test_what_is_sent_to_a_pod_that_is_gone_stays_in_the_machine(host):
    host.check_output("systemctl restart systemd-networkd && sleep 2")
    assert host.run("ip route get 10.244.99.99").rc != 0


@pytest.mark.parametrize(
    ("namespace", "runtime_class", "refusal"),
    [
        ("default", None, "nobody decided where default runs"),
        ("sandboxed", None, "was decided to run in a microVM"),
        ("front", "gvisor", "was decided to run in a container"),
    ],
)
def test_what_was_not_decided_is_refused(namespace, runtime_class, refusal):
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "x", "image": f"x@sha256:{'0' * 64}", "securityContext": security}
    spec = {"containers": [container]} | ({"runtimeClassName": runtime_class} if runtime_class else {})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": namespace}, "spec": spec}
    refused = kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod), check=False)
    assert refused.returncode != 0 and refusal in refused.stderr, refused.stderr
