"""The elastic tier: private, encrypted, and brought up in an order in which nodes become ready."""

import json

import pytest
from recording import deploy, stack_config

from infra.placement import Runtime
from infra.spec import Isolation
from infra.targets.aws.cluster import tolerates_interruption
from policy.resources import Deployment, Resource

BEFORE_NODES = {"vpc-cni", "kube-proxy", "eks-pod-identity-agent"}
AFTER_NODES = {"coredns", "aws-ebs-csi-driver", "metrics-server"}


def waits_for(deployed: Deployment, resource: Resource) -> set[str]:
    """URNs of everything that a resource waits for, directly or not."""
    by_urn = {r.urn: r for r in deployed}
    seen: set[str] = set()
    todo = list(resource.depends_on)
    while todo:
        urn = todo.pop()
        if urn not in seen:
            seen.add(urn)
            todo.extend(by_urn[urn].depends_on)
    return seen


def test_the_api_server_is_private(deployed):
    (cluster,) = deployed.of("eks/cluster")
    network = cluster.props["vpcConfig"]
    assert network["endpointPrivateAccess"] and not network["endpointPublicAccess"]
    assert all("private" in subnet for subnet in network["subnetIds"])


def test_a_public_endpoint_is_open_to_named_ranges_only():
    def open_to_office(config):
        config["cluster"]["public_access_cidrs"] = ["192.0.2.0/24"]

    (cluster,) = deploy("aws-dev", open_to_office).deployment.of("eks/cluster")
    assert cluster.props["vpcConfig"]["endpointPublicAccess"]
    assert cluster.props["vpcConfig"]["publicAccessCidrs"] == ["192.0.2.0/24"]


def test_access_is_by_entries_alone(deployed, stack):
    (cluster,) = deployed.of("eks/cluster")
    assert cluster.props["accessConfig"] == {
        "authenticationMode": "API",
        "bootstrapClusterCreatorAdminPermissions": False,
    }
    entries = {entry.props["principalArn"] for entry in deployed.of("eks/accessEntry")}
    policies = {policy.props["principalArn"] for policy in deployed.of("eks/accessPolicyAssociation")}
    assert entries == policies
    admins = stack_config(stack)["hybrid-platform:aws"]["cluster"].get("admin_roles", [])
    assert len(entries) == len(admins) + 1 and set(admins) < entries


def test_no_administrator_takes_the_place_of_another():
    """Not of one of the same name in another path, nor of the operator."""
    admins = [f"arn:aws:iam::111122223333:role/{name}" for name in ("operator", "a/admin", "b/admin", "admin")]

    def name_them(config):
        config["cluster"]["admin_roles"] = admins

    entries = {e.props["principalArn"] for e in deploy("aws-dev", name_them).deployment.of("eks/accessEntry")}
    assert len(entries) == 5 and set(admins) < entries


def test_all_control_plane_logs_are_kept_in_a_group_of_ours(deployed):
    (cluster,) = deployed.of("eks/cluster")
    assert set(cluster.props["enabledClusterLogTypes"]) == {
        "api",
        "audit",
        "authenticator",
        "controllerManager",
        "scheduler",
    }
    (group,) = [g for g in deployed.of("cloudwatch/logGroup") if g.props["name"].startswith("/aws/eks/")]
    assert group.props["name"] == f"/aws/eks/{cluster.props['name']}/cluster"
    assert group.props["kmsKeyId"] and group.urn in waits_for(deployed, cluster)


def test_secrets_are_encrypted_by_a_key_of_their_own(deployed):
    (cluster,) = deployed.of("eks/cluster")
    encryption = cluster.props["encryptionConfig"]
    assert encryption["resources"] == ["secrets"] and "cluster" in encryption["provider"]["keyArn"]


def test_add_ons_are_pinned_and_come_in_order(deployed):
    addons = {addon.props["addonName"]: addon for addon in deployed.of("eks/addon")}
    assert set(addons) == BEFORE_NODES | AFTER_NODES
    assert all("eksbuild" in addon.props["addonVersion"] for addon in addons.values())
    groups = deployed.of("eks/nodeGroup")
    assert groups
    for group in groups:
        assert {addons[name].urn for name in BEFORE_NODES} <= waits_for(deployed, group)
    for name in AFTER_NODES:
        assert {group.urn for group in groups} <= waits_for(deployed, addons[name])


def test_pods_get_network_policy_and_identities_from_the_start(deployed):
    cni = deployed.one("eks/addon", "cluster-vpc-cni").props
    configuration = json.loads(cni["configurationValues"])
    assert configuration["enableNetworkPolicy"] == "true"
    # Else answers come to ports that the network ACLs of the private tier do not let in.
    assert configuration["env"] == {"AWS_VPC_K8S_CNI_EXTERNALSNAT": "true"}
    for name in ("cluster-vpc-cni", "cluster-aws-ebs-csi-driver"):
        (identity,) = deployed.one("eks/addon", name).props["podIdentityAssociations"]
        assert identity["roleArn"]
    assert not deployed.of("iam/openIdConnectProvider"), "pod identity, not IRSA"


def test_there_is_a_pool_for_every_wall_that_the_plan_asks_for(deployed, plan):
    pools = {group.name.removeprefix("cluster-"): group.props for group in deployed.of("eks/nodeGroup")}
    for runtime in (Runtime.CONTAINER, Runtime.MICROVM):
        if plan.on(runtime):
            assert pools[runtime.value]["labels"]["hybrid.platform/runtime"] == runtime.value
    (taint,) = pools["microvm"]["taints"]
    assert (taint["key"], taint["value"], taint["effect"]) == ("hybrid.platform/runtime", "microvm", "NO_SCHEDULE")


def test_sandboxed_nodes_have_a_group_that_reaches_no_machine(deployed):
    groups = set(deployed.one("ec2/launchTemplate", "cluster-microvm").props["vpcSecurityGroupIds"])
    assert groups == {"SecurityGroup-firewall-pool-microvm", "SecurityGroup-firewall-aws-clients"}
    egress = [
        r.props["referencedSecurityGroupId"]
        for r in deployed.of("vpc/securityGroupEgressRule")
        if r.props["securityGroupId"] in groups and "referencedSecurityGroupId" in r.props
    ]
    assert egress and not [peer for peer in egress if "-vm-" in peer]


def test_nodes_may_ask_what_they_ask_before_they_join(deployed):
    """The minimal policy alone is made for nodes of EKS Auto Mode, which is not used here."""
    (group, *_) = deployed.of("eks/nodeGroup")
    waited_for = waits_for(deployed, group)
    managed = {a.props["policyArn"] for a in deployed.of("iam/rolePolicyAttachment") if a.urn in waited_for}
    allowed = {
        action
        for policy in deployed.of("iam/rolePolicy")
        if policy.name == "cluster-nodes" and policy.urn in waited_for
        for statement in json.loads(policy.props["policy"])["Statement"]
        for action in statement["Action"]
    }
    assert "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy" in managed or "ec2:DescribeInstances" in allowed


def test_spot_takes_only_what_tolerates_interruption(deployed, plan):
    spot = [group for group in deployed.of("eks/nodeGroup") if group.props["capacityType"] == "SPOT"]
    assert [group.name for group in spot] == ["cluster-spot"]
    assert len(spot[0].props["instanceTypes"]) >= 2, "one type is one capacity pool that can run dry"
    (taint,) = spot[0].props["taints"]
    assert taint["value"] == "spot"


@pytest.mark.parametrize(
    ("edit", "tolerates"),
    [({}, True), ({"replicas": 1}, False), ({"stateful": True}, False), ({"isolation": Isolation.HARD}, False)],
)
def test_what_has_one_copy_or_state_tolerates_no_interruption(edit, tolerates, plan):
    web = plan.spec.workloads["web"].model_copy(update={"replicas": 2, "stateful": False})
    checklist = web.checklist.model_copy(update={"isolation": edit.get("isolation", Isolation.LOW)})
    assert tolerates_interruption(web.model_copy(update={"checklist": checklist, **edit})) is tolerates


def test_nodes_are_repaired_spread_and_pinned(deployed):
    zones = {s.name for s in deployed.of("ec2/subnet") if s.tags["hybrid:tier"] == "private"}
    for group in deployed.of("eks/nodeGroup"):
        assert group.props["nodeRepairConfig"]["enabled"]
        assert {subnet.removeprefix("Subnet-") for subnet in group.props["subnetIds"]} == zones
        assert group.props["releaseVersion"] and group.props["amiType"].startswith("AL2023")
        assert group.ignore_changes == ("scalingConfig.desiredSize",), "the autoscaler would be undone by every up"
        assert group.props["updateConfig"] == {"maxUnavailable": 1}


def test_a_pool_of_other_machines_comes_before_the_old_one_goes(dev):
    """EKS replaces a group for its instance types, and refuses a second one of the same name."""

    def larger(config):
        config["cluster"]["container"]["instance_types"] = ["m7i.xlarge"]

    def names(deployed):
        return {group.name: group.props["nodeGroupName"] for group in deployed.of("eks/nodeGroup")}

    before, after = names(dev), names(deploy("aws-dev", larger).deployment)
    assert {name for name in before if before[name] != after[name]} == {"cluster-container"}
    assert not any(group.delete_before_replace for group in dev.of("eks/nodeGroup"))


def test_production_is_protected_from_deletion(prod, dev):
    assert prod.of("eks/cluster")[0].props["deletionProtection"] and prod.of("eks/cluster")[0].protect
    assert not dev.of("eks/cluster")[0].props["deletionProtection"]


def test_the_kubeconfig_asks_for_tokens_and_holds_none(recording):
    config = json.loads(recording.outputs["kubeconfig"])
    (user,) = config["users"]
    assert set(user["user"]) == {"exec"} and user["user"]["exec"]["args"][:2] == ["eks", "get-token"]


@pytest.mark.parametrize("stack_name", ["aws-dev", "aws-prod"])
def test_nothing_calls_aws_at_import_or_validation(stack_name, monkeypatch):
    """Importing the target and reading its configuration must work with no credentials and no network."""
    import socket

    from infra.placement import place
    from infra.spec import load_spec
    from infra.targets.aws.config import parse_config

    def refuse(*_args, **_kwargs):
        raise AssertionError("something connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    config = parse_config(stack_config(stack_name)["hybrid-platform:aws"], place(load_spec("platform.yaml")))
    assert config.zones
