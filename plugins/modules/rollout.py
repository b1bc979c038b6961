#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Wait until deployments run, and say what keeps them if they do not."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Wait until deployments run, and say what keeps them if they do not
description:
  - Waits until every pod of the selected deployments is of the newest version and available, and no other is left.
  - Fails with one line for each thing that is wrong with their pods. Stops early when waiting cannot help.
options:
  kubeconfig:
    description: The kubeconfig to use.
    type: path
    required: true
  label_selectors:
    description: Labels that the deployments and their pods have.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds to wait.
    type: int
    default: 180
author: The hybrid platform authors
requirements: [kubernetes]
attributes:
  check_mode:
    support: full
    description: Does not wait, because nothing was changed that could roll out.
"""

EXAMPLES = r"""
- name: Wait until everything runs
  hybrid.platform.rollout:
    kubeconfig: /etc/kubernetes/admin.conf
    label_selectors: [app.kubernetes.io/part-of=reference]
"""

RETURN = r"""
deployments:
  description: Deployments that run, as namespace/name.
  returned: success
  type: list
  elements: str
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import kubernetes
except ImportError:
    kubernetes = None

# Without a registry nobody will bring the image while we wait.
HOPELESS = ("ErrImageNeverPull", "InvalidImageName")


def full_name(thing):
    return f"{thing['metadata']['namespace']}/{thing['metadata']['name']}"


def rolled_out(deployment):
    """Whether every pod is of the newest version and available, and no other is left."""
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status", {})
    return status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and all(
        status.get(count, 0) == wanted for count in ("replicas", "updatedReplicas", "availableReplicas")
    )


def waiting_reasons(pod):
    """Why containers of the pod do not run."""
    for container in pod.get("status", {}).get("containerStatuses", []):
        state = container.get("state", {})
        yield (state.get("waiting") or state.get("terminated") or {}).get("reason", "")


def problems_of_pod(pod):
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield f"not scheduled: {condition.get('message', '')}"
    for container in status.get("containerStatuses", []):
        state = container.get("state", {})
        stuck = state.get("waiting") or state.get("terminated")
        if stuck:
            yield f"{stuck.get('reason', 'does not run')} {stuck.get('message', '')}".strip()
        elif not container.get("ready"):
            yield "runs, but is not ready"


def problems(pods, events):
    """One line for each thing that keeps pods from running, as an operator wants to read it."""
    lines = [f"{full_name(pod)}: {problem}" for pod in pods for problem in problems_of_pod(pod)]
    for event in events:
        about = event["involvedObject"]
        name = f"{about.get('namespace', '')}/{about['name']}"
        lines.append(f"{name}: {event.get('reason')}: {event.get('message')}")
    return list(dict.fromkeys(lines))


class Cluster:
    """The few questions asked, answered with plain dictionaries."""

    def __init__(self, kubeconfig, selector):
        self.client = kubernetes.config.new_client_from_config(kubeconfig)
        self.selector = selector

    def _items(self, listed):
        return self.client.sanitize_for_serialization(listed)["items"]

    def deployments(self):
        return self._items(
            kubernetes.client.AppsV1Api(self.client).list_deployment_for_all_namespaces(label_selector=self.selector)
        )

    def pods(self):
        return self._items(
            kubernetes.client.CoreV1Api(self.client).list_pod_for_all_namespaces(label_selector=self.selector)
        )

    def warnings(self, namespace):
        return self._items(
            kubernetes.client.CoreV1Api(self.client).list_namespaced_event(namespace, field_selector="type=Warning")
        )


def wait(cluster, timeout):
    """Wait; return the deployments that do not run in the end."""
    deadline = time.monotonic() + timeout
    while True:
        late = [deployment for deployment in cluster.deployments() if not rolled_out(deployment)]
        if not late or time.monotonic() > deadline:
            return late
        if any(reason in HOPELESS for pod in cluster.pods() for reason in waiting_reasons(pod)):
            return late
        time.sleep(1)


def main():
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "label_selectors": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    if kubernetes is None:
        module.fail_json(msg=missing_required_lib("kubernetes"))
    cluster = Cluster(module.params["kubeconfig"], ",".join(module.params["label_selectors"]))
    late = wait(cluster, 0 if module.check_mode else module.params["timeout"])
    if late and not module.check_mode:
        namespaces = {deployment["metadata"]["namespace"] for deployment in late}
        pods = [pod for pod in cluster.pods() if pod["metadata"]["namespace"] in namespaces]
        events = [event for namespace in sorted(namespaces) for event in cluster.warnings(namespace)]
        reasons = problems(pods, events) or ["there are no pods and no events: does the controller manager run?"]
        module.fail_json(msg="\n".join([f"Not running: {', '.join(map(full_name, late))}", *reasons]))
    module.exit_json(changed=False, deployments=sorted(map(full_name, cluster.deployments())))


if __name__ == "__main__":
    main()
