"""The ground of a stack on AWS, from its state: members and nodes, security groups, roles and what these may read.

A member is an Auto Scaling group of one; a node is one of the cluster's objects, and known by its node group. Where the
cluster was not looked at, each node group stands for its nodes.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from infra.insight.estate import Machine, Role, Unit
from infra.insight.ground import Ground
from infra.insight.iam import Statement, allows, statements, trusts
from infra.insight.local_ground import rules_of
from infra.insight.network_policy import Object
from infra.insight.security_groups import SecurityGroups, Side
from infra.spec import Runtime

UNSEEN = "the cluster's objects: pods, their roles and what runs in the cluster are not in this picture"
_POOL = "eks.amazonaws.com/nodegroup"
_MEMBER, _WORKLOAD = "hybrid:member", "hybrid:workload"


def is_on_aws(resources: Iterable[Object]) -> bool:
    return any(resource["type"].startswith("aws:") for resource in resources)


def aws_ground(outputs: Mapping[str, Any], resources: Iterable[Object], nodes: Iterable[Object] | None) -> Ground:
    """
    Args:
        nodes: the cluster's node objects; None if the cluster was not looked at.
    """
    state = _State(resources)
    hosts = outputs["inventory"]["all"]["hosts"]
    members = list(_members(state, outputs["machines"]))
    boxes = [*members, *(_pools(state) if nodes is None else _nodes(state, nodes))]
    groups = SecurityGroups(state.resources)
    sides = {box.machine.name: Side(box.groups, box.addresses) for box in boxes}
    volumes = {v.id: v.name for v in state.of("ebs/volume")}
    return Ground(
        tuple(box.machine for box in boxes),
        tuple(
            Unit(
                box.machine.name,
                box.workload,
                Runtime.VM,
                box.machine.name,
                volumes=tuple(filter(None, [volumes.get(str(outputs["machines"][box.machine.name].get("volume")))])),
            )
            for box in members
        ),
        {box.machine.name: rules_of(hosts.get(box.machine.name, {})) for box in members},
        {name: side.addresses for name, side in sides.items()},
        walls=lambda source, destination, port: groups.through(sides[source], sides[destination], port),
        entries=lambda machine, port: groups.entries(sides[machine], port),
        pods_are_routable=True,
        roles=tuple(_roles(state, boxes)),
        cluster_admins=frozenset(_cluster_admins(state)),
        unseen=UNSEEN if nodes is None else "",
    )


@dataclass(frozen=True)
class _Resource:
    type: str
    name: str
    id: str
    outputs: Mapping[str, Any]

    @property
    def arn(self) -> str:
        return str(self.outputs.get("arn") or "")

    @property
    def tags(self) -> Mapping[str, str]:
        """Its tags by key; Auto Scaling groups write them as a list."""
        tags = self.outputs.get("tagsAll") or self.outputs.get("tags") or {}
        return tags if isinstance(tags, Mapping) else {tag["key"]: tag["value"] for tag in tags}


class _State:
    """The state's resources by type and by what others call them."""

    def __init__(self, resources: Iterable[Object]) -> None:
        self.resources = [r for r in resources if r["type"].startswith("aws:")]
        self._by_type: dict[str, list[_Resource]] = defaultdict(list)
        for r in self.resources:
            kind = r["type"].removeprefix("aws:").rpartition(":")[0]
            name = r["urn"].rpartition("::")[2]
            self._by_type[kind].append(_Resource(kind, name, str(r.get("id") or ""), r.get("outputs") or {}))

    def of(self, kind: str) -> list[_Resource]:
        return self._by_type[kind]

    def find(self, kind: str, name: Any) -> _Resource | None:
        """The resource of a kind that goes by this id, ARN or name."""
        return self._named.get(kind, {}).get(str(name)) if name else None

    @cached_property
    def _named(self) -> dict[str, dict[str, _Resource]]:
        return {
            kind: {str(alias): r for r in found for alias in (r.outputs.get("name"), r.arn, r.id) if alias}
            for kind, found in self._by_type.items()
        }


@dataclass(frozen=True)
class _Box:
    """A machine with what AWS hangs on it.

    Attributes:
        arn: of an instance such as it would have; which one it is just now makes no difference to a policy.
    """

    machine: Machine
    arn: str
    workload: str
    groups: tuple[str, ...]
    addresses: tuple[str, ...]
    role: _Resource | None
    tags: Mapping[str, str]


def _members(state: _State, facts: Mapping[str, Any]) -> Iterator[_Box]:
    for group in state.of("autoscaling/group"):
        host = group.tags.get(_MEMBER)
        template = state.find("ec2/launchTemplate", (group.outputs.get("launchTemplate") or {}).get("id"))
        if not host or not template or host not in facts:
            continue
        address = facts[host]["address"]
        machine = Machine(host, kernel=host, driver="ec2", image=template.outputs.get("imageId") or "", address=address)
        profile = state.find("iam/instanceProfile", (template.outputs.get("iamInstanceProfile") or {}).get("arn"))
        role = state.find("iam/role", profile.outputs.get("role")) if profile else None
        arn = _instance_arn(group, host)
        yield _Box(machine, arn, group.tags[_WORKLOAD], _groups(state, template), (address,), role, group.tags)


def _instance_arn(launcher: _Resource, name: str) -> str:
    _, partition, _, region, account = launcher.arn.split(":")[:5]
    return f"arn:{partition}:ec2:{region}:{account}:instance/i-of-{name}"


def _launch_tags(template: _Resource | None) -> Mapping[str, str]:
    specifications = template.outputs.get("tagSpecifications") or () if template else ()
    return next((s["tags"] for s in specifications if s["resourceType"] == "instance"), {})


def _groups(state: _State, template: _Resource | None) -> tuple[str, ...]:
    """The security groups of what a template launches: its own, or those of the interface that it is given."""
    if template is None:
        return ()
    groups = list(template.outputs.get("vpcSecurityGroupIds") or ())
    for interface in template.outputs.get("networkInterfaces") or ():
        groups += interface.get("securityGroups") or ()
        fixed = state.find("ec2/networkInterface", interface.get("networkInterfaceId"))
        groups += fixed.outputs.get("securityGroups") or () if fixed else ()
    return tuple(dict.fromkeys(groups))


def _pools(state: _State) -> Iterator[_Box]:
    for pool in state.of("eks/nodeGroup"):
        yield _node(state, pool, f"nodes of {_pool_name(pool)}", _somewhere_in(state, pool))


def _pool_name(group: _Resource) -> str:
    """A node group is called after its pool, and after a digest of what EKS cannot change in place."""
    return str(group.outputs["nodeGroupName"]).rpartition("-")[0]


def _nodes(state: _State, nodes: Iterable[Object]) -> Iterator[_Box]:
    pools = {pool.outputs["nodeGroupName"]: pool for pool in state.of("eks/nodeGroup")}
    for node in nodes:
        pool = pools.get((node["metadata"].get("labels") or {}).get(_POOL, ""))
        addresses = node.get("status", {}).get("addresses") or ()
        inside = tuple(entry["address"] for entry in addresses if entry["type"] == "InternalIP")
        yield _node(state, pool, node["metadata"]["name"], inside)


def _node(state: _State, pool: _Resource | None, name: str, addresses: tuple[str, ...]) -> _Box:
    known = pool.outputs if pool else {}
    template = state.find("ec2/launchTemplate", (known.get("launchTemplate") or {}).get("id"))
    groups = _groups(state, template)
    if not groups:  # EKS gives its own group to nodes for which nobody names one
        groups = tuple(
            filter(
                None,
                [(c.outputs.get("vpcConfig") or {}).get("clusterSecurityGroupId") for c in state.of("eks/cluster")],
            )
        )
    machine = Machine(
        name,
        kernel=name,
        driver="ec2",
        image=" ".join(filter(None, [known.get("amiType"), known.get("releaseVersion")])),
        address=next(iter(addresses), ""),
        is_node=True,
        pool=_pool_name(pool) if pool else "",
    )
    role = state.find("iam/role", known.get("nodeRoleArn"))
    arn = _instance_arn(pool, name) if pool else ""
    return _Box(machine, arn, "", groups, addresses, role, _launch_tags(template))


def _somewhere_in(state: _State, pool: _Resource) -> tuple[str, ...]:
    """An address of each subnet that a node group may use: enough to ask whether a rule means its nodes."""
    subnets = (state.find("ec2/subnet", subnet) for subnet in pool.outputs.get("subnetIds") or ())
    ranges = (ipaddress.ip_network(subnet.outputs["cidrBlock"]) for subnet in subnets if subnet)
    return tuple(str(addresses[10]) for addresses in ranges)


def _roles(state: _State, boxes: Iterable[_Box]) -> Iterator[Role]:
    """Every role that something in the picture holds, directly or by way of another, with its powers."""
    boxes = list(boxes)
    policies = {role.arn: _policy(state, role) for role in state.of("iam/role")}
    holders: dict[str, list[str]] = defaultdict(list)
    for box in boxes:
        if box.role:
            holders[box.role.arn].append(box.machine.name)
    for arn, account in _pod_identities(state):
        if arn in policies:
            holders[arn].append(account)
    assumes = {
        role.arn: [
            other
            for other in state.of("iam/role")
            if other is not role
            and allows(policies[role.arn], "sts:AssumeRole", other.arn, other.tags)
            and trusts(other.outputs["assumeRolePolicy"], role.arn)
        ]
        for role in state.of("iam/role")
    }
    reached = set(holders)
    while grown := {other.arn for arn in reached for other in assumes[arn]} - reached:
        reached |= grown
    for role in state.of("iam/role"):
        if role.arn in reached:
            yield Role(
                _called(role),
                held_by=tuple(holders[role.arn]),
                secrets=tuple(_readable_secrets(state, policies[role.arn])),
                volumes=tuple(_readable_volumes(state, policies[role.arn])),
                commands=tuple(_commanded(policies[role.arn], boxes)),
                assumes=tuple(_called(other) for other in assumes[role.arn]),
            )


def _called(role: _Resource) -> str:
    return f"IAM {role.name}"


def _policy(state: _State, role: _Resource) -> list[Statement]:
    """All statements of a role that the state knows: inline, and of policies that are this stack's own."""
    found = [
        statement for inline in role.outputs.get("inlinePolicies") or () for statement in statements(inline["policy"])
    ]
    for inline in state.of("iam/rolePolicy"):
        if state.find("iam/role", inline.outputs["role"]) is role:
            found += statements(inline.outputs["policy"])
    for attachment in state.of("iam/rolePolicyAttachment"):
        if state.find("iam/role", attachment.outputs["role"]) is role:
            own = state.find("iam/policy", attachment.outputs["policyArn"])
            found += statements(own.outputs["policy"]) if own else []
    return found


def _pod_identities(state: _State) -> Iterator[tuple[str, str]]:
    """(ARN of a role, service account that EKS gives it to)."""
    for association in state.of("eks/podIdentityAssociation"):
        known = association.outputs
        yield known["roleArn"], f"{known['namespace']}/{known['serviceAccount']}"
    for addon in state.of("eks/addon"):
        for identity in addon.outputs.get("podIdentityAssociations") or ():
            yield identity["roleArn"], f"kube-system/{identity['serviceAccount']}"


def _cluster_admins(state: _State) -> Iterator[str]:
    for association in state.of("eks/accessPolicyAssociation"):
        known = association.outputs
        role = state.find("iam/role", known["principalArn"])
        everything = known["policyArn"].endswith("/AmazonEKSClusterAdminPolicy")
        if role and everything and known["accessScope"]["type"] == "cluster":
            yield _called(role)


def _readable_secrets(state: _State, policy: list[Statement]) -> Iterator[str]:
    """Secrets that the role may fetch, and whose key it may use."""
    for secret in state.of("secretsmanager/secret"):
        key = state.find("kms/key", secret.outputs.get("kmsKeyId"))
        if allows(policy, "secretsmanager:GetSecretValue", secret.arn, secret.tags) and (
            key is None or allows(policy, "kms:Decrypt", key.arn, key.tags)
        ):
            yield secret.outputs.get("name") or secret.name


def _readable_volumes(state: _State, policy: list[Statement]) -> Iterator[str]:
    """Volumes that the role may attach to a machine of its choice, and so read."""
    for volume in state.of("ebs/volume"):
        if allows(policy, "ec2:AttachVolume", volume.arn, volume.tags):
            yield volume.name


def _commanded(policy: list[Statement], boxes: Iterable[_Box]) -> Iterator[str]:
    """Machines in which the role may run what it likes through Systems Manager."""
    for box in boxes:
        if any(allows(policy, action, box.arn, box.tags) for action in ("ssm:SendCommand", "ssm:StartSession")):
            yield box.machine.name
