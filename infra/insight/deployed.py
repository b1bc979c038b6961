"""The estate as it is: read from the stack's state and the cluster's objects, never from platform.yaml.

Plain data in, an Estate out, so that recorded platforms can be tested without a running one; `live.py` fetches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.insight.estate import HOST, OPEN, Connection, Estate, Grant, Listener, Machine, Unit
from infra.insight.network_policy import Endpoint, Object, addresses_of, admits, covers
from infra.inventory import CONTROL_PLANE, VM_TIER
from infra.spec import Runtime

Objects = Mapping[str, list[Any]]
KINDS = (
    "pods",
    "namespaces",
    "services",
    "secrets",
    "networkpolicies",
    "runtimeclasses",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
)
GVISOR = "gVisor (a kernel in user space) stands here for a microVM"
_READS = {"get", "list", "watch", "*"}
_WRITES = {"create", "update", "patch", "*"}
_ENTERS = {"pods", "pods/exec", "pods/attach", "pods/ephemeralcontainers", "deployments", "statefulsets", "daemonsets"}


@dataclass(frozen=True)
class Rule:
    """A port that a machine's firewall opens, and to whom."""

    port: int
    sources: tuple[str, ...]


Firewalls = Mapping[str, Iterable[Rule]]


def deployed(outputs: Mapping[str, Any], resources: Iterable[Object], objects: Objects) -> Estate:
    """The estate of one stack.

    Args:
        outputs: the stack's outputs; `machines` and `inventory` are read.
        resources: the resources of `pulumi stack export`.
        objects: the cluster's objects by kind (see KINDS); of secrets only their names are needed.
    """
    resources = list(resources)
    children = outputs["inventory"]["all"]["children"]
    control_plane, vm_tier = (children.get(group, {}).get("hosts", {}) for group in (CONTROL_PLANE, VM_TIER))
    machines = tuple(
        _machine(name, facts, name in control_plane) for name, facts in sorted(outputs["machines"].items())
    )
    firewalls = _firewalls(resources)
    disks = _data_disks(resources)
    units = [
        Unit(name, facts["workload"], Runtime.VM, name, volumes=disks.get(name, ()))
        for name, facts in sorted(outputs["machines"].items())
        if name in vm_tier
    ]
    cluster = _Cluster(objects, machines)
    units += cluster.units()
    listeners = [*_machine_listeners(units, firewalls), *cluster.listeners()]
    connections = tuple(dict.fromkeys(_connections(units, machines, firewalls, cluster, listeners)))
    workloads = {unit.workload for unit in units}
    return Estate(
        origin="deployed",
        machines=machines,
        units=tuple(units),
        connections=connections,
        dependencies=tuple(
            dict.fromkeys((c.source, c.destination) for c in connections if c.source in workloads and c.through != OPEN)
        ),
        listeners=tuple(listeners),
        grants=tuple(cluster.grants({unit.identity for unit in units if unit.identity})),
        cluster_secrets=tuple(cluster.secrets),
    )


def _machine(name: str, facts: Mapping[str, Any], is_control_plane: bool) -> Machine:
    driver, shares = facts.get("driver", ""), bool(facts.get("shares_host_kernel"))
    return Machine(
        name,
        kernel=HOST if shares else name,
        driver=driver,
        host=HOST if driver in ("nspawn", "qemu") else "",
        image=facts.get("image", ""),
        address=facts["address"],
        is_control_plane=is_control_plane,
        stand_in="nspawn stands here for a VM" if driver == "nspawn" else "",
    )


def _firewalls(resources: Iterable[Object]) -> dict[str, list[Rule]]:
    """What each machine's firewall lets in besides SSH, as the run that configured it was told."""
    firewalls: dict[str, list[Rule]] = {}
    for resource in resources:
        if not resource["type"].endswith(":Playbook"):
            continue
        inputs = resource["inputs"]
        rules = [
            Rule(int(rule["port"]), tuple(rule["sources"]))
            for rule in inputs["variables"].get("firewall_allow") or ()
            if rule.get("protocol", "tcp") == "tcp"
        ]
        for host in inputs["inventory"]["all"]["hosts"] if rules else ():
            firewalls.setdefault(host, []).extend(rules)
    return firewalls


def _data_disks(resources: Iterable[Object]) -> dict[str, tuple[str, ...]]:
    """The data disks of each machine, as the stack's state attaches them."""
    disks: dict[str, tuple[str, ...]] = {}
    for resource in resources:
        outputs = resource.get("outputs") or {}
        if resource["type"].endswith(":Machine") and outputs.get("data_disk"):
            disks[outputs["name"]] = (outputs["data_disk"].rpartition("/")[2],)
        elif resource["type"] == "aws:ec2/volumeAttachment:VolumeAttachment":
            disks[_name_of(resource)] = (outputs["volumeId"],)
    return disks


def _name_of(resource: Object) -> str:
    return str(resource["urn"].rpartition("::")[2])


def _machine_listeners(units: Iterable[Unit], firewalls: Firewalls) -> Iterator[Listener]:
    for unit in units:
        for rule in firewalls.get(unit.machine, ()):
            yield Listener(unit.workload, rule.port, f"nftables of {unit.machine}")


def _connections(
    units: Iterable[Unit],
    machines: Iterable[Machine],
    firewalls: Firewalls,
    cluster: _Cluster,
    listeners: Iterable[Listener],
) -> Iterator[Connection]:
    units, machines = list(units), list(machines)
    addresses = {machine.name: machine.address for machine in machines}
    for target in units:
        if target.runtime is not Runtime.VM:
            continue
        for rule in firewalls.get(target.machine, ()):
            port, through = rule.port, f"nftables of {target.machine}"
            for machine in machines:
                if machine.name != target.machine and covers(rule.sources, [machine.address]):
                    yield from _from_machine(machine, units, target.workload, port, through)
            destination = Endpoint(addresses[target.machine])
            for source in cluster.endpoints:
                seen_as = [source.endpoint.address, addresses.get(source.unit.machine, "")]
                if covers(rule.sources, seen_as) and cluster.admits(source.endpoint, destination, port):
                    yield Connection(source.unit.workload, target.workload, port, f"egress policy and {through}")
    for listener in listeners:
        for destination_pod in cluster.endpoints:
            if destination_pod.unit.workload != listener.workload:
                continue
            for source in cluster.endpoints:
                if source.unit.workload != listener.workload and cluster.admits(
                    source.endpoint, destination_pod.endpoint, listener.port
                ):
                    yield Connection(source.unit.workload, listener.workload, listener.port, "network policies")
            if listener.port in cluster.published(listener.workload):
                for machine in machines:
                    outside = Endpoint(machine.address)
                    if not machine.is_control_plane and cluster.admits(
                        outside, destination_pod.endpoint, listener.port
                    ):
                        yield from _from_machine(machine, units, listener.workload, listener.port, OPEN)


def _from_machine(
    machine: Machine, units: Iterable[Unit], destination: str, port: int, through: str
) -> Iterator[Connection]:
    """A connection that a machine may make is its workload's, if it runs one itself, else that of whoever holds it."""
    own = [unit.workload for unit in units if unit.machine == machine.name and unit.runtime is Runtime.VM]
    for source in own or [machine.name]:
        if source != destination:
            yield Connection(source, destination, port, through)


@dataclass(frozen=True)
class _Pod:
    unit: Unit
    endpoint: Endpoint
    ports: tuple[int, ...]


class _Cluster:
    """The cluster's objects, asked what the estate needs to know."""

    def __init__(self, objects: Objects, machines: Iterable[Machine]) -> None:
        self._objects = objects
        self._machines = {machine.name for machine in machines}
        self._namespaces = {n["metadata"]["name"]: n["metadata"].get("labels") or {} for n in objects["namespaces"]}
        self._handlers = {r["metadata"]["name"]: r["handler"] for r in objects["runtimeclasses"]}
        self.secrets = [f"{s['metadata']['namespace']}/{s['metadata']['name']}" for s in objects["secrets"]]
        self.endpoints = [self._pod(pod) for pod in objects["pods"] if _is_workload(pod)]

    def units(self) -> list[Unit]:
        return [pod.unit for pod in self.endpoints]

    def listeners(self) -> Iterator[Listener]:
        yield from dict.fromkeys(Listener(pod.unit.workload, port) for pod in self.endpoints for port in pod.ports)

    def admits(self, source: Endpoint, destination: Endpoint, port: int) -> bool:
        return admits(self._objects["networkpolicies"], source, destination, port)

    def published(self, workload: str) -> set[int]:
        """The container ports of a workload that a node's address leads to."""
        ports: set[int] = set()
        names: dict[str, int] = {}
        for pod in self.endpoints:
            if pod.unit.workload == workload:
                names |= pod.endpoint.port_names
        for service in self._objects["services"]:
            if service["metadata"]["namespace"] == workload and service["spec"].get("type") in (
                "NodePort",
                "LoadBalancer",
            ):
                for port in service["spec"].get("ports") or ():
                    target = port.get("targetPort", port["port"])
                    ports.add(names.get(target, 0) if isinstance(target, str) else int(target))
        for running in self._objects["pods"]:
            if running["metadata"]["namespace"] == workload:
                ports |= {p["containerPort"] for p in _ports(running) if p.get("hostPort")}
        return ports

    def grants(self, identities: set[str]) -> Iterator[Grant]:
        for binding in (*self._objects["rolebindings"], *self._objects["clusterrolebindings"]):
            namespace = binding["metadata"].get("namespace")
            role = self._role(binding["roleRef"], namespace)
            held_by = identities & set(_subjects(binding, identities))
            secrets, enters = self._powers(role.get("rules") or () if role else (), namespace)
            if secrets or enters:
                name = f"{namespace}/{binding['roleRef']['name']}" if namespace else binding["roleRef"]["name"]
                yield from (Grant(identity, name, secrets, enters) for identity in sorted(held_by))

    def _role(self, reference: Object, namespace: str | None) -> Object | None:
        roles = self._objects["clusterroles" if reference["kind"] == "ClusterRole" else "roles"]
        for role in roles:
            metadata = role["metadata"]
            if metadata["name"] == reference["name"] and metadata.get("namespace") in (None, namespace):
                return role
        return None

    def _powers(self, rules: Iterable[Object], namespace: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
        secrets: list[str] = []
        enters: list[str] = []
        for rule in rules:
            verbs, resources = set(rule.get("verbs") or ()), set(rule.get("resources") or ())
            names = set(rule.get("resourceNames") or ())
            if verbs & _READS and resources & {"secrets", "*"}:
                secrets += [
                    secret
                    for secret in self.secrets
                    if (namespace is None or secret.startswith(f"{namespace}/"))
                    and (not names or secret.partition("/")[2] in names)
                ]
            if verbs & _WRITES and resources & (_ENTERS | {"*"}) and not names:
                enters += [
                    pod.unit.workload for pod in self.endpoints if namespace is None or pod.unit.workload == namespace
                ]
        return tuple(dict.fromkeys(secrets)), tuple(dict.fromkeys(enters))

    def _pod(self, pod: Object) -> _Pod:
        spec, metadata = pod["spec"], pod["metadata"]
        namespace = metadata["namespace"]
        handler = self._handlers.get(spec.get("runtimeClassName", ""), "runc")
        sandboxed = handler.startswith(("runsc", "kata"))
        containers = spec["containers"]
        volumes = spec.get("volumes") or []
        unit = Unit(
            name=f"{namespace}/{metadata['name']}",
            workload=namespace,
            runtime=Runtime.MICROVM if sandboxed else Runtime.CONTAINER,
            machine=spec["nodeName"],
            image=containers[0]["image"],
            identity=f"{namespace}/{spec.get('serviceAccountName') or 'default'}",
            identity_mounted=any(
                "serviceAccountToken" in source for v in volumes for source in v.get("projected", {}).get("sources", ())
            ),
            secrets=tuple(dict.fromkeys(f"{namespace}/{name}" for name in _secrets(containers, volumes))),
            volumes=tuple(
                f"{namespace}/{v['persistentVolumeClaim']['claimName']}"
                for v in volumes
                if "persistentVolumeClaim" in v
            ),
            limited=all("cpu" in (c.get("resources", {}).get("limits") or {}) for c in containers),
            stand_in=GVISOR if handler.startswith("runsc") else "",
        )
        ports = list(_ports(pod))
        endpoint = Endpoint(
            next(addresses_of(pod), ""),
            namespace,
            metadata.get("labels") or {},
            self._namespaces.get(namespace, {}),
            {p["name"]: p["containerPort"] for p in ports if p.get("name")},
        )
        return _Pod(unit, endpoint, tuple(p["containerPort"] for p in ports))


def _is_workload(pod: Object) -> bool:
    """The platform's own pods live in kube-* namespaces; a namespace of a workload has the workload's name."""
    return (
        not pod["metadata"]["namespace"].startswith("kube-")
        and not pod["metadata"].get("deletionTimestamp")
        and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        and bool(pod["spec"].get("nodeName"))
    )


def _ports(pod: Object) -> Iterator[Any]:
    for container in pod["spec"]["containers"]:
        yield from (p for p in container.get("ports") or () if p.get("protocol", "TCP") == "TCP")


def _secrets(containers: Iterable[Object], volumes: Iterable[Object]) -> Iterator[str]:
    for container in containers:
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                yield reference["name"]
        for source in container.get("envFrom") or ():
            if "secretRef" in source:
                yield source["secretRef"]["name"]
    for volume in volumes:
        if "secret" in volume:
            yield volume["secret"]["secretName"]
        for source in volume.get("projected", {}).get("sources", ()):
            if "secret" in source:
                yield source["secret"]["name"]


def _subjects(binding: Object, identities: Iterable[str]) -> Iterator[str]:
    for subject in binding.get("subjects") or ():
        if subject["kind"] == "ServiceAccount":
            yield f"{subject.get('namespace', binding['metadata'].get('namespace'))}/{subject['name']}"
        elif subject["kind"] == "Group" and subject["name"] in ("system:serviceaccounts", "system:authenticated"):
            yield from identities
        elif subject["kind"] == "Group" and subject["name"].startswith("system:serviceaccounts:"):
            namespace = subject["name"].rpartition(":")[2]
            yield from (i for i in identities if i.startswith(f"{namespace}/"))
