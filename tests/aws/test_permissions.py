"""Least privilege, by what is called: each role has what its scripts and agents ask for, on its own, and no more."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.session import get_session
from recording import CHECKOUT

from infra.placement import Runtime
from infra.targets.aws.network import GATEWAY_SERVICES, INTERFACE_SERVICES
from policy.resources import Deployment, listed
from policy.rules.iam import EVERY_RESOURCE, is_unrestrictable

HERE = CHECKOUT / "infra" / "targets" / "aws"
# What no script says: https://docs.aws.amazon.com, "Setting up Systems Manager" and the reference of its agent.
OF_AGENT = {
    *("ssm:UpdateInstanceInformation", "ssm:ListInstanceAssociations", "ssm:PutInventory", "ssm:PutComplianceItems"),
    "ssm:GetDeployablePatchSnapshotForInstance",
    *(f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data")),
}
AGENT = OF_AGENT | {
    *("ssm:GetDocument", "ssm:DescribeDocument"),
    *("ssm:DescribeAssociation", "ssm:UpdateAssociationStatus", "ssm:UpdateInstanceAssociationStatus"),
    *("logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "logs:DescribeLogGroups"),
}
BUNDLE = {
    "s3:GetObject",
    "s3:ListBucket",
    "kms:Decrypt",
    "ssm:GetParameter",
}  # encrypted objects, by a parameter's name
OWN_LOG = {"logs:CreateLogStream", "logs:PutLogEvents"}
JOB = BUNDLE | OWN_LOG | {"ssm:GetParametersByPath"}
# Commands of the CLI that are no operations by the same name.
COMMANDS = {
    "s3 cp": {"s3:GetObject"},
    "s3 sync": {"s3:GetObject", "s3:PutObject", "s3:ListBucket"},
    "ecr get-login-password": {"ecr:GetAuthorizationToken"},
    "eks update-kubeconfig": {"eks:DescribeCluster"},
}
# What skopeo does to copy an image into a registry; and CodeBuild, to stand in a subnet.
PUSH = {"BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer", "PutImage"}
PUSH |= {f"{verb}Layer{what}" for verb, what in (("Initiate", "Upload"), ("Upload", "Part"), ("Complete", "Upload"))}
STAND = {f"Describe{what}" for what in ("DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs")}
STAND |= {"CreateNetworkInterface", "DeleteNetworkInterface", "CreateNetworkInterfacePermission"}


def called(*scripts: str) -> set[str]:
    """The actions that the commands of some scripts are."""
    found: set[str] = set()
    for script in scripts:
        text = re.sub(r"(?m)^\s*#.*$", "", (HERE / script).read_text()).replace("\\\n", " ")
        for service, command in re.findall(r"\baws ([a-z0-9]+) ([a-z-]+)", text):
            operations = COMMANDS.get(f"{service} {command}")
            if operations is None:
                operation = "".join(part.capitalize() for part in command.split("-"))
                assert operation in get_session().get_service_model(service).operation_names, f"{service} {command}"
                operations = {f"{service}:{operation}"}
            found |= operations
    return found


def granted(deployed: Deployment, role: str) -> list[dict[str, Any]]:
    return json.loads(deployed.one("iam/rolePolicy", role).props["policy"])["Statement"]


def actions(statements: list[dict[str, Any]]) -> set[str]:
    return {action for statement in statements for action in listed(statement["Action"])}


MEMBER = called("boot/library.sh", "boot/member.sh", "boot/play.sh") | AGENT | BUNDLE
PASSWORDS = {"secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue", "kms:GenerateDataKey"}


@pytest.mark.parametrize(
    ("role", "asked"),
    [
        ("vm-ledger", MEMBER | PASSWORDS),
        ("vm-tariffs", MEMBER - PASSWORDS),
        ("images-builder", OF_AGENT | BUNDLE),  # beside a managed policy
        ("jobs-packages", called("jobs/packages.sh") | JOB),
        ("jobs-images", called("jobs/images.sh") | JOB | {f"ecr:{verb}" for verb in PUSH}),
        ("jobs-operator", called("jobs/operator.sh") | JOB | {f"ec2:{verb}" for verb in STAND}),
    ],
)
def test_a_role_may_do_what_its_scripts_and_agents_do_and_nothing_else(role, asked, deployed):
    assert actions(granted(deployed, role)) == asked


def test_what_changes_something_is_bound_to_ones_own(deployed, plan):
    """A member's grants name its own workload, in the resource or by tags; reading what every member reads is free."""
    shared = AGENT | BUNDLE | {"cloudwatch:PutMetricData"}
    for workload in plan.on(Runtime.VM):
        for statement in granted(deployed, f"vm-{workload}"):
            loose = [a for a in listed(statement["Action"]) if a not in shared and not is_unrestrictable(a)]
            tags = json.dumps(statement.get("Condition", {}))
            by_name = all(f"/{workload}" in resource for resource in listed(statement["Resource"]))
            by_tag = f'"aws:ResourceTag/hybrid:workload": "{workload}"' in tags
            by_key = set(loose) <= {"kms:GenerateDataKey"} and "kms:ViaService" in tags
            assert not loose or by_name or by_tag or by_key, f"{workload}: {loose}"


def test_a_member_reads_no_parameter_object_or_secret_of_another(deployed, plan):
    for workload in plan.on(Runtime.VM):
        for statement in granted(deployed, f"vm-{workload}"):
            for action in set(listed(statement["Action"])) & {"ssm:GetParameter", "s3:GetObject"}:
                for resource in listed(statement["Resource"]):
                    own = resource.endswith(f"/inventory/{workload}.json") or f"/authorities/{workload}/" in resource
                    assert own or resource.endswith(("/bundle", "/bundle/*")), f"{workload} {action} {resource}"


def test_windows_may_send_what_they_send_to_whom_they_send_it(deployed):
    """Every document that a task runs, on machines of this platform alone."""
    sends = [s for s in granted(deployed, "patching-window") if "ssm:SendCommand" in listed(s["Action"])]
    to_documents = [r for s in sends for r in listed(s["Resource"]) if ":document/" in r]
    for task in deployed.of("ssm/maintenanceWindowTask"):
        name = task.props["taskArn"]
        assert any(re.fullmatch(r.split(":document/")[1].replace("*", ".*"), name) for r in to_documents), name
    to_machines = [s for s in sends if any(":instance/" in r for r in listed(s["Resource"]))]
    assert to_machines and all(
        {"ssm:resourceTag/hybrid:platform", "ssm:resourceTag/hybrid:stack"} == set(s["Condition"]["StringEquals"])
        for s in to_machines
    )


def test_the_autoscaler_scales_the_groups_of_its_own_cluster(deployed):
    """As its documentation lists; nothing that changes a group's size beyond what the node groups allow."""
    (cluster,) = deployed.of("eks/cluster")
    changing = [
        s
        for s in granted(deployed, "cluster-autoscaler")
        if not all("Describe" in a or ":Get" in a for a in s["Action"])
    ]
    assert actions(changing) == {"autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"}
    owned = {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster.props['name']}": "owned"}
    assert all(s["Condition"] == {"StringEquals": owned} for s in changing)
    association = deployed.one("eks/podIdentityAssociation", "cluster-autoscaler").props
    manifest = (HERE / "jobs/cluster-autoscaler.yaml").read_text()
    assert f"serviceAccountName: {association['serviceAccount']}\n" in manifest
    assert (association["namespace"], association["roleArn"][-18:]) == ("kube-system", "cluster-autoscaler")


# Roles that are used inside the VPC, where all is reached through endpoints; and services by their endpoints' names.
INSIDE = (
    "vm-ledger",
    "vm-tariffs",
    "images-builder",
    "jobs-operator",
    "cluster-nodes",
    "cluster-autoscaler",
    "cluster-ebs-csi",
)
ENDPOINTS = {"cloudwatch": {"monitoring"}, "ecr": {"ecr.api", "ecr.dkr"}, "eks": {"eks", "eks-auth"}}
BESIDE = {"imagebuilder", "sts", "ecr.api", "ecr.dkr"}  # asked for by managed policies, sessions and nodes


def test_whatever_a_role_inside_may_call_has_an_endpoint_and_nothing_else_has(deployed):
    services = {a.split(":")[0] for role in INSIDE for a in actions(granted(deployed, role))}
    wanted = BESIDE.union(*(ENDPOINTS.get(service, {service}) for service in services))
    found = {
        e.props["serviceName"].split(".", 3)[3]: e.props["vpcEndpointType"] for e in deployed.of("ec2/vpcEndpoint")
    }
    assert wanted - set(found) == set()
    assert set(found) - wanted == {"dynamodb"}, "costs nothing, and keeps what comes to use it inside"
    assert {name for name, kind in found.items() if kind == "Gateway"} == {"s3", "dynamodb"} == set(GATEWAY_SERVICES)
    assert {name for name, kind in found.items() if kind == "Interface"} == set(INTERFACE_SERVICES)


def test_no_role_reaches_all_of_a_kind_without_a_condition(deployed):
    """`instance/*` and the like open a whole account; what may stand so reads only, or is the agent's own status."""
    for policy in deployed.of("iam/rolePolicy"):
        for statement in json.loads(policy.props["policy"])["Statement"]:
            wide = [
                r for r in listed(statement["Resource"]) if re.search(r":(instance|volume|network-interface)/\*$", r)
            ]
            loose = [a for a in listed(statement["Action"]) if a not in AGENT and not is_unrestrictable(a)]
            if wide and loose and not statement.get("Condition"):
                assert loose == ["ec2:CreateNetworkInterface"], f"{policy.name}: {loose} on {wide}"
                assert any(":subnet/" in r and not EVERY_RESOURCE.fullmatch(r) for r in statement["Resource"])
