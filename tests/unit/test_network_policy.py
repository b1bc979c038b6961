"""The evaluator of network policies: the API's own rules, case by case."""

import pytest

from infra.insight.network_policy import Endpoint, admits

WEB = Endpoint("10.244.0.5", "web", {"app": "web"}, {"kubernetes.io/metadata.name": "web"})
WORKER = Endpoint("10.244.0.6", "worker", {"app": "worker", "tier": "back"}, {"team": "pricing"}, {"http": 8081})
OUTSIDE = Endpoint("192.0.2.7")


def policy(namespace="worker", selector=None, **spec):
    return {"metadata": {"namespace": namespace}, "spec": {"podSelector": selector or {}, **spec}}


def ingress(*peers, ports=None, **fields):
    rule = ({"from": list(peers)} if peers else {}) | ({"ports": ports} if ports else {})
    return policy(policyTypes=["Ingress"], ingress=[rule], **fields)


def expression(key, operator, *values):
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        pytest.param([], True, id="no policy admits all"),
        pytest.param([policy(policyTypes=["Ingress"])], False, id="an applying policy without rules closes"),
        pytest.param([policy()], False, id="policyTypes default to ingress"),
        pytest.param([policy(policyTypes=["Egress"])], True, id="egress of the destination is not asked"),
        pytest.param([policy("web", policyTypes=["Egress"])], False, id="egress of the source is asked"),
        pytest.param([policy("web", egress=[{"to": []}])], True, id="an egress rule without peers admits all"),
        pytest.param([policy(selector={"matchLabels": {"app": "other"}})], True, id="it does not select the pod"),
        pytest.param([policy(), ingress()], True, id="policies add up"),
        pytest.param([ingress({"podSelector": {}})], False, id="a pod selector alone means the own namespace"),
        pytest.param([ingress({"namespaceSelector": {}})], True, id="every namespace"),
        pytest.param(
            [ingress({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "x"}}})],
            False,
            id="both must hold",
        ),
        pytest.param([ingress({"ipBlock": {"cidr": "10.244.0.0/16"}})], True, id="in the block"),
        pytest.param(
            [ingress({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]}})], False, id="in the exception"
        ),
        pytest.param([ingress(ports=[{"port": 8081}])], True, id="the port"),
        pytest.param([ingress(ports=[{"port": 80}])], False, id="another port"),
        pytest.param([ingress(ports=[{"port": 8081, "protocol": "UDP"}])], False, id="another protocol"),
        pytest.param([ingress(ports=[{"port": "http"}])], True, id="a named port"),
        pytest.param([ingress(ports=[{"port": 8000, "endPort": 8100}])], True, id="a range of ports"),
        pytest.param([ingress(ports=[{"protocol": "TCP"}])], True, id="every port of a protocol"),
        pytest.param([ingress(selector=expression("tier", "In", "front"))], True, id="In"),
        pytest.param([policy(selector=expression("tier", "NotIn", "front"))], False, id="NotIn"),
        pytest.param([policy(selector=expression("tier", "Exists"))], False, id="Exists"),
        pytest.param([policy(selector=expression("tier", "DoesNotExist"))], True, id="DoesNotExist"),
    ],
)
def test_from_web_to_worker(policies, expected):
    assert admits(policies, WEB, WORKER, 8081) is expected


def test_an_address_outside_is_no_pod_and_has_no_egress_policy():
    assert not admits([ingress({"namespaceSelector": {}})], OUTSIDE, WORKER, 8081)
    assert admits([ingress({"ipBlock": {"cidr": "192.0.2.0/24"}})], OUTSIDE, WORKER, 8081)
    assert not admits([policy("web", policyTypes=["Egress"])], WEB, OUTSIDE, 5432)
