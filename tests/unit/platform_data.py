"""A small platform as its state and its cluster would tell it, for tests that have none running."""

from typing import Any

ADDRESSES = {"ledger-0": "10.120.0.11", "tariffs-0": "10.120.0.12", "cluster-0": "10.120.0.13"}


def outputs(driver: str = "nspawn") -> dict[str, Any]:
    def allow(port: int) -> list[dict]:
        return [{"port": port, "protocol": "tcp", "sources": [ADDRESSES["cluster-0"]]}]

    hosts = {name: {"ansible_host": address} for name, address in ADDRESSES.items()}
    hosts["ledger-0"]["firewall_allow"] = allow(5432)
    hosts["tariffs-0"]["firewall_allow"] = allow(7070)
    return {
        "machines": {
            name: {
                "driver": driver,
                "address": address,
                "kernel": "6.12.0",
                "image": "sha256:12" if name == "tariffs-0" else "sha256:13",
                "workload": None if name == "cluster-0" else name.removesuffix("-0"),
            }
            for name, address in ADDRESSES.items()
        },
        "inventory": {
            "all": {
                "hosts": hosts,
                "vars": {},
                "children": {
                    "vm_tier": {"hosts": {"ledger-0": {}, "tariffs-0": {}}},
                    "kubernetes_control_plane": {"hosts": {"cluster-0": {}}},
                    "kubernetes_nodes": {"hosts": {"cluster-0": {}}},
                },
            }
        },
    }


def resources() -> list[dict]:
    return [
        {
            "urn": "urn:pulumi:local::hybrid-platform::pulumi-python:dynamic/local:Machine::ledger-0",
            "type": "pulumi-python:dynamic/local:Machine",
            "outputs": {"name": "ledger-0", "data_disk": "/srv/platform/data-disks/ledger-0.ext4"},
        },
        {"urn": "urn:pulumi:local::hybrid-platform::pulumi:pulumi:Stack::x", "type": "pulumi:pulumi:Stack"},
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
