"""The admission policies as they are rendered; that a real API server enforces them is tried in tests/platform."""

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[2] / "roles/cluster_policies"


def rendered(**given) -> dict[tuple[str, str], dict]:
    variables = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    variables |= yaml.safe_load((ROLE / "vars/main.yml").read_text())
    variables |= {"cluster_policies_decisions": {"ledger": "vm", "web": "container", "worker": "microvm"}} | given
    template = trust_as_template((ROLE / "templates/policies.yml.j2").read_text())
    text = Templar(loader=DataLoader(), variables=variables).template(template)
    return {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(text) if d}


def policies(**given) -> dict[str, dict]:
    objects = rendered(**given)
    return {name: o["spec"] for (kind, name), o in objects.items() if kind == "ValidatingAdmissionPolicy"}


def bindings(**given) -> dict[str, dict]:
    objects = rendered(**given)
    return {name: o["spec"] for (kind, name), o in objects.items() if kind == "ValidatingAdmissionPolicyBinding"}


def test_the_decisions_reach_the_cluster_as_they_were_taken():
    decisions = rendered()["ConfigMap", "hybrid-decisions"]
    assert decisions["data"] == {"ledger": "vm", "web": "container", "worker": "microvm"}
    assert bindings()["hybrid-placement"]["paramRef"] == {
        "name": "hybrid-decisions",
        "namespace": "kube-system",
        "parameterNotFoundAction": "Deny",
    }


def test_every_policy_is_bound_and_fails_closed():
    assert policies().keys() == bindings().keys()
    for name, binding in bindings().items():
        assert binding["policyName"] == name and binding["validationActions"] == ["Deny"]
        assert policies()[name]["failurePolicy"] == "Fail"


def test_pods_and_all_that_make_pods_are_looked_at():
    for policy in policies().values():
        resources = {r for rule in policy["matchConstraints"]["resourceRules"] for r in rule["resources"]}
        assert resources == {
            "pods", "pods/ephemeralcontainers", "deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"
        }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"cluster_policies_sandbox_classes": ["kata-clh"]}, '["kata-clh"]'),
        ({}, '["gvisor", "kata"]'),
    ],
)
def test_the_sandbox_classes_are_the_estates_own(given, value):
    (sandboxed,) = [v for v in policies(**given)["hybrid-placement"]["variables"] if v["name"] == "sandboxed"]
    assert sandboxed["expression"] == f"variables.runtimeClass in {value}"


def test_a_running_estate_can_try_the_policies_first():
    tried = bindings(cluster_policies_actions=["Warn", "Audit"], cluster_policies_undecided_actions=["Audit"])
    assert tried["hybrid-placement"]["validationActions"] == ["Warn", "Audit"]
    assert tried["hybrid-undecided"]["validationActions"] == ["Audit"]
