"""The estate as it is: read from the stack's state and the cluster's objects, never from platform.yaml.

Plain data in, an Estate out, so that recorded platforms can be tested without a running one; `live.py` fetches it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.insight.estate import HOST, Connection, Estate, Grant, Listener, Machine, Unit
from infra.insight.network_policy import Endpoint, Object, addresses_of, admits, covers
from infra.inventory import CONTROL_PLANE
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


def deployed(outputs: Mapping[str, Any], resources: Iterable[Object], objects: Objects) -> Estate:
    """The estate of one stack.

    Args:
        outputs: the stack's outputs; `machines` and `inventory` are read.
        resources: the resources of `pulumi stack export`.
        objects: the cluster's objects by kind (see KINDS); of secrets only their names are needed.
    """
    hosts = outputs["inventory"]["all"]["hosts"]
    control_plane = outputs["inventory"]["all"]["children"].get(CONTROL_PLANE, {}).get("hosts", {})
    machines = tuple(
        _machine(name, facts, hosts.get(name, {}), name in control_plane)
        for name, facts in sorted(outputs["machines"].items())
    )
    disks = _data_disks(resources)
    units = [
        Unit(name, facts["workload"], Runtime.VM, name, volumes=disks.get(name, ()))
        for name, facts in sorted(outputs["machines"].items())
        if facts.get("workload")
    ]
    cluster = _Cluster(objects, machines)
    units += cluster.units()
    listeners = [*_machine_listeners(units, hosts), *cluster.listeners()]
    connections = tuple(dict.fromkeys(_connections(units, machines, hosts, cluster, listeners)))
    workloads = {unit.workload for unit in units}
    return Estate(
        origin="deployed",
        machines=machines,
        units=tuple(units),
        connections=connections,
        dependencies=tuple(dict.fromkeys((c.source, c.destination) for c in connections if c.source in workloads)),
        listeners=tuple(listeners),
        grants=tuple(cluster.grants({unit.identity for unit in units if unit.identity})),
        cluster_secrets=tuple(cluster.secrets),
    )


def _machine(name: str, facts: Mapping[str, Any], host: Mapping[str, Any], is_control_plane: bool) -> Machine:
    driver = facts.get("driver", "")
    shares = driver == "nspawn"
    return Machine(
        name,
        kernel=HOST if shares else name,
        driver=driver,
        host=HOST if driver in ("nspawn", "qemu") else "",
        image=facts.get("image", ""),
        address=facts.get("address") or host.get("ansible_host", ""),
        release=facts.get("kernel", ""),
        is_control_plane=is_control_plane,
        stand_in=_words(facts.get("stand_in")) or ("nspawn stands here for a VM" if shares else ""),
    )


def _words(stand_in: Any) -> str:
    return stand_in if isinstance(stand_in, str) else ""


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


def _machine_listeners(units: Iterable[Unit], hosts: Mapping[str, Any]) -> Iterator[Listener]:
    for unit in units:
        if unit.runtime is Runtime.VM:
            for rule in _allowed(hosts, unit.machine):
                yield Listener(unit.workload, int(rule["port"]), f"nftables of {unit.machine}")


def _allowed(hosts: Mapping[str, Any], machine: str) -> list[Any]:
    """What the machine's firewall lets in besides SSH, as its configuration in the state says."""
    rules = hosts.get(machine, {}).get("firewall_allow") or []
    return [rule for rule in rules if rule.get("protocol", "tcp") == "tcp"]


def _connections(
    units: Iterable[Unit],
    machines: Iterable[Machine],
    hosts: Mapping[str, Any],
    cluster: _Cluster,
    listeners: Iterable[Listener],
) -> Iterator[Connection]:
    units, machines = list(units), list(machines)
    addresses = {machine.name: machine.address for machine in machines}
    for target in units:
        if target.runtime is not Runtime.VM:
            continue
        for rule in _allowed(hosts, target.machine):
            port, through = int(rule["port"]), f"nftables of {target.machine}"
            for machine in machines:
                if machine.name != target.machine and covers(rule["sources"], [machine.address]):
                    yield from _from_machine(machine, units, target.workload, port, through)
            destination = Endpoint(addresses[target.machine])
            for source in cluster.endpoints:
                seen_as = [source.endpoint.address, addresses.get(source.unit.machine, "")]
                if covers(rule["sources"], seen_as) and cluster.admits(source.endpoint, destination, port):
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
                        yield from _from_machine(machine, units, listener.workload, listener.port, "node port")


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
        names = {name: n for p in self.endpoints if p.unit.workload == workload for name, n in _named(p)}
        for service in self._objects["services"]:
            if service["metadata"]["namespace"] == workload and service["spec"].get("type") in (
                "NodePort",
                "LoadBalancer",
            ):
                for port in service["spec"].get("ports") or ():
                    target = port.get("targetPort", port["port"])
                    ports.add(names.get(target, 0) if isinstance(target, str) else int(target))
        for pod in self._objects["pods"]:
            if pod["metadata"]["namespace"] == workload:
                ports |= {p["containerPort"] for p in _ports(pod) if p.get("hostPort")}
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


def _named(pod: _Pod) -> Iterator[tuple[str, int]]:
    yield from pod.endpoint.port_names.items()


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
