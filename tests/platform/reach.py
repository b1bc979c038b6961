"""Try TCP connections for real: from a machine, or from a pod that stands in for a workload that was taken over."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from infra.machines.state import PROJECT
from infra.targets.local.oci_image import build_image, compile_program
from toolchain.build import find_go

if TYPE_CHECKING:
    from tests.platform.conftest import PlatformUnderTest

DNS = "10.96.0.10:53"
"""The cluster's, which every pod may ask."""

NEEDS = {"ledger": "/readyz", "tariffs": "/price?currency=EUR"}
"""What the public web service answers only with the help of which workload."""

PROBED = 9
"""Seconds: a probe may begin during a loss, take 3 s, be counted when all is well again, and be made good 3 s later."""

_TRY = """
import json, socket, sys
reached = {}
for target in sys.argv[2:]:
    host, port = target.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=int(sys.argv[1])).close()
        reached[target] = True
    except OSError:
        reached[target] = False
print(json.dumps(reached))
"""


def front_door(platform: PlatformUnderTest) -> str:
    """The address:port of the public web service, which every machine may use."""
    return urlsplit(platform.outputs["app_url"]).netloc


def works(platform: PlatformUnderTest, path: str) -> bool:
    """Whether the public web service answers as it should."""
    try:
        return platform.request(path, timeout=5).status == 200
    except OSError:
        return False


def serves(platform: PlatformUnderTest) -> bool:
    """Wait until the public web service does everything, and goes on doing it."""

    def all_works() -> bool:
        return all(works(platform, path) for path in NEEDS.values())

    if not platform.comes_true(all_works, seconds=180):
        return False
    # The cluster may still take the service away for what it was like before.
    time.sleep(platform.limit(PROBED))
    return platform.comes_true(all_works)


def from_machine(platform: PlatformUnderTest, machine: str, *targets: str) -> dict[str, bool]:
    """Which of the address:port targets a machine gets a connection to.

    Too short a limit makes every door look closed: an open one among the targets shows that it was long enough.
    """
    command = f"python3 -c %s {platform.limit(3)} {' '.join(targets)}"
    return json.loads(platform.host(machine).check_output(command, _TRY))


def from_workload(
    platform: PlatformUnderTest, workload: str, *targets: str, settle: int = 5, within: int = 3
) -> dict[str, bool]:
    """The same from a pod with the workload's namespace, labels and runtime class, but our program in it.

    It begins `settle` seconds after its start, by when the policy engine should have learnt of it.
    """
    image = _probe_image(platform)
    model = platform.objects("pods", "--namespace", workload, "--selector", f"app.kubernetes.io/name={workload}")[0]
    container = {
        "name": "probe",
        "image": image,
        "imagePullPolicy": "Never",
        "args": list(targets),
        "env": [
            {"name": "SETTLE", "value": f"{platform.limit(settle)}s"},
            {"name": "WITHIN", "value": f"{platform.limit(within)}s"},
        ],
        "securityContext": model["spec"]["containers"][0]["securityContext"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
    }
    # Never ready, so that the workload's own callers are not sent here.
    container["readinessProbe"] = {"exec": {"command": ["/nothing"]}}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [container],
        "securityContext": model["spec"]["securityContext"],
        "automountServiceAccountToken": False,
        "hostUsers": model["spec"].get("hostUsers", True),
    }
    if runtime_class := model["spec"].get("runtimeClassName"):
        spec["runtimeClassName"] = runtime_class
    labels = {k: v for k, v in model["metadata"]["labels"].items() if k != "pod-template-hash"}
    metadata = {"name": "probe", "namespace": workload, "labels": labels}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    platform.kubectl("create", "--filename=-", stdin=json.dumps(pod))
    try:
        return json.loads(_log_when_done(platform, workload))
    finally:
        platform.kubectl("delete", "pod", "probe", "--namespace", workload, "--now", "--ignore-not-found")


def _log_when_done(platform: PlatformUnderTest, namespace: str) -> str:
    def is_done() -> bool:
        pod = json.loads(platform.kubectl("get", "pod", "probe", "--namespace", namespace, "--output=json").stdout)
        return pod["status"].get("phase") in ("Succeeded", "Failed")

    if not platform.comes_true(is_done):
        raise AssertionError(platform.kubectl("describe", "pod", "probe", "--namespace", namespace).stdout)
    return platform.kubectl("logs", "probe", "--namespace", namespace).stdout


def _probe_image(platform: PlatformUnderTest) -> str:
    """Build the program's image and bring it to the node; its reference."""
    directory = PROJECT / "build" / "probe"
    binary = compile_program(PROJECT / "workloads", "probe", directory, go=find_go(PROJECT / "workloads/go.mod"))
    image = build_image("localhost/hybrid-platform/probe", binary, directory / "probe.tar")
    node = platform.host("cluster-0")
    if image.reference not in node.check_output("ctr -n k8s.io images list --quiet"):
        platform.copy_to("cluster-0", image.archive, "/var/tmp/probe.tar")
        node.check_output("ctr -n k8s.io images import --local /var/tmp/probe.tar && rm /var/tmp/probe.tar")
    return image.reference
