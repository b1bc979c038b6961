"""The cluster refuses what was not decided: every trial is a server-side dry run, so that no pod is made."""

import json

import pytest

DIGEST = "@sha256:" + "0" * 64


@pytest.fixture
def refusal(platform):
    """Ask the API server for a pod; returns its words if it refuses, else an empty string."""

    def ask(namespace: str, *, image: str = f"localhost/trial{DIGEST}", read_only: bool = True, **spec) -> str:
        container = {
            "name": "trial",
            "image": image,
            "securityContext": {
                "readOnlyRootFilesystem": read_only,
                "runAsNonRoot": True,
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "trial", "namespace": namespace},
            "spec": {"containers": [container], "serviceAccountName": namespace, **spec},
        }
        run = platform.kubectl("create", "--dry-run=server", "--filename=-", stdin=json.dumps(pod), check=False)
        return run.stderr if run.returncode else ""

    return ask


@pytest.mark.looks_only
def test_a_pod_as_decided_is_taken(refusal):
    assert refusal("web") == ""
    assert refusal("worker", runtimeClassName="gvisor") == ""


@pytest.mark.looks_only
def test_an_untrusted_workload_is_refused_outside_its_sandbox(refusal):
    assert "was decided to run in a microVM" in refusal("worker")


@pytest.mark.looks_only
def test_a_container_is_refused_in_a_runtime_that_nobody_decided(refusal):
    assert "was decided to run in a container" in refusal("web", runtimeClassName="gvisor")


@pytest.mark.looks_only
def test_a_namespace_without_a_decision_is_refused(refusal):
    assert "nobody decided where default runs" in refusal("default", serviceAccountName="default")


@pytest.mark.looks_only
def test_an_image_without_digest_is_refused(refusal):
    assert "images must be named by digest: localhost/trial:1" in refusal("web", image="localhost/trial:1")


@pytest.mark.looks_only
def test_a_writable_root_is_refused(refusal):
    assert "root file systems must be read-only: trial" in refusal("web", read_only=False)


def test_a_namespace_of_somebody_else_asks_for_its_runtime_by_a_label(platform, refusal):
    """For workloads that platform.yaml does not know; this makes a namespace, so it leaves a user's platform alone."""
    labels = {"hybrid.platform/runtime": "microvm", "pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "labelled", "labels": labels}}
    platform.kubectl("create", "--filename=-", stdin=json.dumps(namespace))
    try:
        plain = refusal("labelled", serviceAccountName="default")
        assert "was decided to run in a microVM" in plain
        assert refusal("labelled", serviceAccountName="default", runtimeClassName="gvisor") == ""
    finally:
        platform.kubectl("delete", "namespace", "labelled", "--wait=false")
