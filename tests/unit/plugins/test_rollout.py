"""hybrid.platform.rollout"""

import copy

import pytest

from plugins.modules import rollout

DONE = {
    "metadata": {"name": "web", "namespace": "web", "generation": 3},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2},
}


def pod(name="web-1", *, waiting=None, ready=False, unscheduled=None):
    container = {"ready": ready, "state": {"waiting": waiting} if waiting else {"running": {}}}
    conditions = [{"type": "PodScheduled", "status": "False", "message": unscheduled}] if unscheduled else []
    status = {"conditions": conditions, "containerStatuses": [] if unscheduled else [container]}
    return {"metadata": {"name": name, "namespace": "web"}, "status": status}


def warning(reason, message):
    return {"involvedObject": {"namespace": "web", "name": "web-1"}, "reason": reason, "message": message}


class FakeCluster:
    """Shows the given deployments one look after the other, the last one for ever."""

    def __init__(self, *looks, pods=(), warnings=()):
        self.looks, self._pods, self._warnings, self.asked = list(looks), list(pods), list(warnings), 0

    def deployments(self):
        self.asked += 1
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    def pods(self):
        return self._pods

    def warnings(self, _namespace):
        return self._warnings


@pytest.fixture
def wait_for(call, monkeypatch):
    monkeypatch.setattr(rollout.time, "sleep", lambda _: None)

    def run(cluster, **more):
        monkeypatch.setattr(rollout, "Cluster", lambda *_: cluster)
        return call(rollout, kubeconfig="/kubeconfig", label_selectors=["a=b"], **more)

    return run


def not_yet(**status):
    late = copy.deepcopy(DONE)
    late["status"].update(status)
    return late


@pytest.mark.parametrize(
    "status",
    [
        {"observedGeneration": 2},
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
        {"replicas": 3},
    ],
    ids=["controller has not looked", "old pods serve", "new pods are not available", "old pods still leave"],
)
def test_a_rollout_is_done_only_when_nothing_of_the_old_is_left(wait_for, status):
    cluster = FakeCluster([not_yet(**status)], [not_yet(**status)], [DONE])
    assert wait_for(cluster)["deployments"] == ["web/web"]
    assert cluster.asked >= 3, "it did not wait"


def test_the_failure_says_what_keeps_the_pods(wait_for, failure):
    crash = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    cluster = FakeCluster(
        [not_yet(availableReplicas=0)],
        pods=[pod(waiting=crash), pod("web-2"), pod("web-3", unscheduled="0/1 nodes: insufficient cpu")],
        warnings=[warning("Unhealthy", "readiness probe failed"), warning("Unhealthy", "readiness probe failed")],
    )
    with pytest.raises(failure) as error:
        wait_for(cluster, timeout=0)
    assert str(error.value).splitlines() == [
        "Not running: web/web",
        "web/web-1: CrashLoopBackOff back-off 10s",
        "web/web-2: runs, but is not ready",
        "web/web-3: not scheduled: 0/1 nodes: insufficient cpu",
        "web/web-1: Unhealthy: readiness probe failed",
    ]


def test_it_does_not_wait_for_an_image_that_nobody_will_bring(wait_for, failure):
    never = {"reason": "ErrImageNeverPull", "message": "not present"}
    cluster = FakeCluster([not_yet(availableReplicas=0)], pods=[pod(waiting=never)])
    with pytest.raises(failure, match="ErrImageNeverPull"):
        wait_for(cluster, timeout=10_000)


def test_check_mode_does_not_wait(wait_for):
    cluster = FakeCluster([not_yet(availableReplicas=0)])
    assert not wait_for(cluster, check=True, timeout=10_000)["changed"]
