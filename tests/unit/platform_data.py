"""A small platform as its state and its cluster would tell it, for tests that have none running."""

from typing import Any

from infra.machines.config import MachineConfig

IMAGES = {
    "ledger-0": "debian-13-postgresql-33",
    "tariffs-0": "debian-12-tariffs-b0",
    "cluster-0": "debian-13-kubernetes-2d",
}
ADDRESSES = {"ledger-0": "10.120.0.11", "tariffs-0": "10.120.0.12", "cluster-0": "10.120.0.13"}


def machine(driver: str, **fields: Any) -> MachineConfig:
    """The database's machine, as its supervisor is told of it."""
    usual: dict[str, Any] = {
        "name": "ledger-0",
        "scope": "hp-1a2b3c-ledger-0",
        "instance_id": "1",
        "image": "/image",
        "bridge": "hp-1a2b3c",
        "address": "10.100.0.10/24",
        "gateway": "10.100.0.1",
        "memory": 2**30,
        "cpu": 0.5,
        "data_disk": "",
        "kubernetes_node": False,
    }
    return MachineConfig(driver=driver, **(usual | fields))


def outputs(driver: str = "nspawn") -> dict[str, Any]:
    return {
        "machines": {
            name: {
                "driver": driver,
                "address": address,
                "image": IMAGES[name],
                "workload": name.removesuffix("-0"),
                "shares_host_kernel": driver == "nspawn",
            }
            for name, address in ADDRESSES.items()
        },
        "inventory": {
            "all": {
                "hosts": {name: {"ansible_host": address} for name, address in ADDRESSES.items()},
                "vars": {},
                "children": {
                    "vm_tier": {"hosts": {"ledger-0": {}, "tariffs-0": {}}},
                    "kubernetes_control_plane": {"hosts": {"cluster-0": {}}},
                    "kubernetes_nodes": {"hosts": {"cluster-0": {}}},
                },
            }
        },
    }


def resource(kind: str, name: str, **fields: Any) -> dict:
    urn = f"urn:pulumi:local::hybrid-platform::pulumi-python:dynamic/local:{kind}::{name}"
    return {"urn": urn, "type": f"pulumi-python:dynamic/local:{kind}", **fields}


def configuration(machine: str, port: int, source: str = ADDRESSES["cluster-0"]) -> dict:
    inputs = {
        "inventory": {"all": {"hosts": {machine: {}}}},
        "variables": {"firewall_allow": [{"port": port, "sources": [source]}]},
    }
    return resource("Playbook", f"{machine}-configuration", inputs=inputs)


def resources() -> list[dict]:
    disk = "/srv/platform/data-disks/ledger-0.ext4"
    return [
        {"urn": "urn:pulumi:local::hybrid-platform::pulumi:pulumi:Stack::x", "type": "pulumi:pulumi:Stack"},
        resource("Machine", "ledger-0", outputs={"name": "ledger-0", "data_disk": disk}),
        resource("Machine", "tariffs-0", outputs={"name": "tariffs-0", "data_disk": "", "cpu": 0.25}),
        resource("Machine", "cluster-0", outputs={"name": "cluster-0", "data_disk": "/srv/cluster-0.ext4", "cpu": 2.0}),
        configuration("ledger-0", 5432),
        configuration("tariffs-0", 7070),
        resource("Playbook", "workloads", inputs={"inventory": {"all": {"hosts": {}}}, "variables": {}}),
    ]


def pod(workload: str, ordinal: int, port: int, **spec: Any) -> dict:
    return {
        "metadata": {"namespace": workload, "name": f"{workload}-{ordinal}", "labels": {"app": workload}},
        "spec": {
            "nodeName": "cluster-0",
            "serviceAccountName": workload,
            "containers": [
                {
                    "image": f"localhost/{workload}@sha256:aa",
                    "ports": [{"name": "http", "containerPort": port}],
                    "resources": {"limits": {"cpu": "500m"}},
                }
            ],
            **spec,
        },
        "status": {
            "phase": "Running",
            "podIPs": [{"ip": f"10.244.0.{port % 100 + ordinal}"}],
        },
    }


def policy(namespace: str, name: str, **spec: Any) -> dict:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"podSelector": {}, **spec}}


def deny(namespace: str) -> dict:
    return policy(namespace, "default-deny", policyTypes=["Ingress", "Egress"])


def to_address(namespace: str, address: str, port: int) -> dict:
    rule = {"to": [{"ipBlock": {"cidr": f"{address}/32"}}], "ports": [{"port": port}]}
    return policy(namespace, f"to-{address}", policyTypes=["Egress"], egress=[rule])


def namespace_selector(name: str) -> dict:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def objects() -> dict[str, list]:
    names = ("web", "worker", "kube-system")
    return {
        "namespaces": [{"metadata": {"name": n, "labels": {"kubernetes.io/metadata.name": n}}} for n in names],
        "pods": [
            pod("web", 0, 8080),
            pod("web", 1, 8080),
            pod("worker", 0, 8081, runtimeClassName="gvisor"),
            pod("kube-system", 0, 53),
        ],
        "services": [
            {
                "metadata": {"namespace": "web", "name": "web"},
                "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": "http"}]},
            }
        ],
        "secrets": [{"metadata": {"namespace": "web", "name": "ledger"}}],
        "networkpolicies": [
            deny("web"),
            deny("worker"),
            policy(
                "web",
                "public",
                policyTypes=["Ingress"],
                ingress=[
                    {
                        "from": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.0.0/16"]}}],
                        "ports": [{"port": 8080}],
                    }
                ],
            ),
            to_address("web", ADDRESSES["ledger-0"], 5432),
            to_address("web", ADDRESSES["tariffs-0"], 7070),
            policy(
                "web",
                "to-worker",
                policyTypes=["Egress"],
                egress=[{"to": [namespace_selector("worker")], "ports": [{"port": 8081}]}],
            ),
            policy(
                "worker",
                "from-web",
                policyTypes=["Ingress"],
                ingress=[{"from": [namespace_selector("web")], "ports": [{"port": "http"}]}],
            ),
        ],
        "runtimeclasses": [{"metadata": {"name": "gvisor"}, "handler": "runsc"}],
        "roles": [],
        "rolebindings": [],
        "clusterroles": [],
        "clusterrolebindings": [],
    }
