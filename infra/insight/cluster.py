"""The cluster's objects, asked what a picture needs to know: pods, their walls, and what their identities may do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.insight.estate import Listener, Role, Unit
from infra.insight.network_policy import Endpoint, Object, addresses_of, admits
from infra.spec import Runtime

Objects = Mapping[str, list[Any]]
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = {
    "nodes": ("Node", "/api/v1"),
    "pods": ("Pod", "/api/v1"),
    "namespaces": ("Namespace", "/api/v1"),
    "services": ("Service", "/api/v1"),
    "secrets": ("Secret", "/api/v1"),
    "networkpolicies": ("NetworkPolicy", "/apis/networking.k8s.io/v1"),
    "runtimeclasses": ("RuntimeClass", "/apis/node.k8s.io/v1"),
    "roles": ("Role", _RBAC),
    "rolebindings": ("RoleBinding", _RBAC),
    "clusterroles": ("ClusterRole", _RBAC),
    "clusterrolebindings": ("ClusterRoleBinding", _RBAC),
}
"""What is read of a cluster, by plural name: the kind of an object, and the path of its API group."""

GVISOR = "gVisor (a kernel in user space) stands here for a microVM"
_READS = {"get", "list", "watch", "*"}
_WRITES = {"create", "update", "patch", "*"}
_ENTERS = {"pods", "pods/exec", "pods/attach", "pods/ephemeralcontainers", "deployments", "statefulsets", "daemonsets"}


@dataclass(frozen=True)
class Pod:
    unit: Unit
    endpoint: Endpoint
    ports: tuple[int, ...]


class Cluster:
    """The cluster's objects, asked what the estate needs to know."""

    def __init__(self, objects: Objects, nodes: Collection[str]) -> None:
        """`nodes` are the machines that are known: a pod on one that has come meanwhile is left out."""
        self._objects = objects
        self._namespaces = {n["metadata"]["name"]: n["metadata"].get("labels") or {} for n in objects["namespaces"]}
        self._handlers = {r["metadata"]["name"]: r["handler"] for r in objects["runtimeclasses"]}
        self.secrets = [f"{s['metadata']['namespace']}/{s['metadata']['name']}" for s in objects["secrets"]]
        running = [pod for pod in objects["pods"] if _runs(pod) and pod["spec"]["nodeName"] in nodes]
        self.endpoints = [self._pod(pod) for pod in running if not _is_the_clusters_own(pod)]
        self.own = [self._pod(pod).unit for pod in running if _is_the_clusters_own(pod)]

    def units(self) -> list[Unit]:
        return [pod.unit for pod in self.endpoints]

    def listeners(self) -> Iterator[Listener]:
        yield from dict.fromkeys(Listener(pod.unit.workload, port) for pod in self.endpoints for port in pod.ports)

    def admits(self, source: Endpoint, destination: Endpoint, port: int) -> bool:
        return admits(self._objects["networkpolicies"], source, destination, port)

    def published(self, workload: str) -> dict[int, set[int]]:
        """The container ports of a workload that a node's address leads to, with the node's ports that do."""
        ports: dict[int, set[int]] = {}
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
                    target = names.get(target, 0) if isinstance(target, str) else int(target)
                    ports.setdefault(target, set()).add(port.get("nodePort") or port["port"])
        for running in self._objects["pods"]:
            if running["metadata"]["namespace"] == workload:
                for port in _ports(running):
                    if port.get("hostPort"):
                        ports.setdefault(port["containerPort"], set()).add(port["hostPort"])
        return ports

    def tokens(self) -> Iterator[tuple[str, str]]:
        """(node, service account) of the cluster's own pods: whoever holds the node reads their tokens."""
        for unit in self.own:
            if unit.identity_mounted:
                yield unit.machine, unit.identity

    def roles(self) -> Iterator[Role]:
        """The roles that any of these pods holds, and that open something."""
        identities = {unit.identity for unit in (*self.units(), *self.own) if unit.identity}
        for binding in (*self._objects["rolebindings"], *self._objects["clusterrolebindings"]):
            namespace = binding["metadata"].get("namespace")
            role = self._role(binding["roleRef"], namespace)
            held_by = identities & set(_subjects(binding, identities))
            secrets, enters = self._powers(role.get("rules") or () if role else (), namespace)
            if held_by and (secrets or enters):
                name = f"{namespace}/{binding['roleRef']['name']}" if namespace else binding["roleRef"]["name"]
                yield Role(name, tuple(sorted(held_by)), secrets, enters=enters)

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

    def _pod(self, pod: Object) -> Pod:
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
        return Pod(unit, endpoint, tuple(p["containerPort"] for p in ports))


def _is_the_clusters_own(pod: Object) -> bool:
    """The cluster's own pods live in kube-* namespaces; a namespace of a workload has the workload's name."""
    return bool(pod["metadata"]["namespace"].startswith("kube-"))


def _runs(pod: Object) -> bool:
    return (
        not pod["metadata"].get("deletionTimestamp")
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
