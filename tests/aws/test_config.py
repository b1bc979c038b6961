"""A stack's configuration: every fault at once, each with its path."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
import yaml
from botocore.session import get_session
from recording import CHECKOUT, deploy, stack_config

from benchmarks import preview
from infra.placement import place
from infra.spec import load_spec
from infra.targets.aws.config import AwsConfig, ConfigError, name_faults, parse_config
from infra.targets.aws.public import node_port, too_many


def faults(plan, *edits: Callable[[dict[str, Any]], None]) -> list[str]:
    data = copy.deepcopy(stack_config("aws-prod")["hybrid-platform:aws"])
    for edit in edits:
        edit(data)
    with pytest.raises(ConfigError) as error:
        parse_config(data, plan)
    return str(error.value).splitlines()


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(data: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for part in parents:
            data = data.setdefault(part, {})
        data[last] = value

    return edit


def test_two_public_workloads_of_one_node_port_are_told(tmp_path):
    """In a large platform two names fall on one port; Kubernetes would refuse the second, after all else is made."""
    spec = preview.spec(12)
    names: dict[int, str] = {}
    first, second = next(
        (names[port], name)
        for name in (f"shop-{number}" for number in range(10_000))
        for port in [node_port(name)]
        if names.setdefault(port, name) != name
    )
    web = next(w for w in spec["workloads"].values() if w.get("public"))
    file = tmp_path / "platform.yaml"
    for other, told in ((second, 1), ("elsewhere", 0)):
        file.write_text(json.dumps({**spec, "workloads": {**spec["workloads"], first: web, other: web}}))
        plan = place(load_spec(file))
        found = [line for line in faults(plan) if "node port" in line]
        assert len(found) == told
        assert all(
            first in line and second in line and line.startswith("hybrid-platform:aws.ingress") for line in found
        )


@pytest.mark.parametrize(
    ("on_machines", "on_nodes", "told"),
    [
        (0, 50, []),
        (50, 50, []),
        (0, 51, ["51 public workloads are on nodes of container, which serve 50"]),
        (60, 41, ["there are 101 public workloads; one load balancer serves 100"]),
    ],
)
def test_more_public_workloads_than_aws_serves_are_told(on_machines, on_nodes, told, tmp_path):
    """Neither limit can be raised, and both would be met at the end of a long `pulumi up`."""
    spec = preview.spec(12)
    kinds = [next(w for w in spec["workloads"].values() if bool(w.get("package")) is vm) for vm in (True, False)]
    counts = dict(zip((True, False), (on_machines, on_nodes), strict=True))
    workloads = {
        f"p{number}-{'vm' if vm else 'pod'}": {**kind, "public": True, "ports": [5000], "talks_to": []}
        for kind, (vm, count) in zip(kinds, counts.items(), strict=True)
        for number in range(count)
    }
    file = tmp_path / "platform.yaml"
    file.write_text(json.dumps({**spec, "workloads": workloads}))
    assert list(too_many(place(load_spec(file)))) == told
    if told:
        path = "hybrid-platform:aws.ingress: "
        assert [line for line in faults(place(load_spec(file))) if line.startswith(path) and "serve" in line] == [
            f"{path}{fault}" for fault in told
        ]


def test_every_commercial_region_is_taken_and_no_other(plan):
    """As the models of AWS's own clients list them."""
    data = stack_config("aws-dev")["hybrid-platform:aws"]
    session = get_session()
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("ec2", partition):
            edited = {**data, "region": region, "zones": [f"{region}a", f"{region}b"]}
            if partition == "aws":
                assert parse_config(edited, plan).region == region
            else:
                with pytest.raises(ConfigError, match=r"hybrid-platform:aws\.region: .*is of a partition where"):
                    parse_config(edited, plan)


def test_all_faults_come_at_once_each_with_its_path(plan):
    told = faults(
        plan,
        put("account", 12),
        put("zones", ["us-east-1a", "eu-central-1b"]),
        put("network.cidr", "10.0.0.1/16"),
        put("network.nat", "sometimes"),
        put("cluster.addons.coredns", "latest"),
        put("observability.log_days", 42),
        put("backup.locked", True),
        lambda data: data.pop("owner"),
    )
    paths = {line.split(": ")[0].removeprefix("hybrid-platform:aws.") for line in told}
    assert paths == {
        "account",
        "zones",
        "network.cidr",
        "network.nat",
        "cluster.addons.coredns",
        "observability.log_days",
        "backup.locked",
        "owner",
    }


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("zones", ["eu-central-1a"], "zones: "),
        ("zones", ["eu-central-1a", "eu-central-1a"], "names a zone twice"),
        ("zones", ["us-east-1a", "us-east-1b"], "is not a zone of eu-central-1"),
        ("network.cidr", "8.8.0.0/16", "is not a private range"),
        ("network.cidr", "10.0.0.0/24", "is not between /16 and /20"),
        ("cluster.public_access_cidrs", ["0.0.0.0/0"], "opens the API server"),
        ("cluster.node_release", "1.34.1-20260101", "node_release 1.34.1-20260101 is not of Kubernetes 1.35"),
        ("cluster.container", {"min_nodes": 5, "max_nodes": 2}, "min_nodes (5) is more than max_nodes (2)"),
        ("vm_tier.images.debian-13.golden", "latest", "vm_tier.images.debian-13.golden: 'latest'"),
        (
            "vm_tier.images",
            {"debian-13": {"debian": "debian-13-amd64-20251117-2299"}},
            "no pins for debian-12, which tar",
        ),
        (
            "vm_tier.instance_types",
            {"web": "m7i.large"},
            "instance_types.web: is no workload of the VM tier; there are led",
        ),
        ("vm_tier.debian_mirror", "ftp://mirror.example/debian", "vm_tier.debian_mirror: 'ftp"),
        ("patching.canaries", ["nobody"], "patching.canaries: nobody is no workload"),
        ("ingress.hostname", None, "certificate_arn needs hostname"),
        ("ingress", {"client_cidrs": ["0.0.0.0/0"]}, "nothing is served to clients outside without TLS"),
        ("observability.alarm_email", "nobody", "observability.alarm_email: 'nobody'"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_made(plan, path, value, told):
    assert told in "\n".join(faults(plan, put(path, value)))


def test_a_workload_that_no_machine_can_hold_is_told(tmp_path):
    from infra.placement import place
    from infra.spec import load_spec

    text = (CHECKOUT / "platform.yaml").read_text()
    assert "memory: 512MiB" in text
    spec = tmp_path / "platform.yaml"
    spec.write_text(text.replace("memory: 512MiB", "memory: 2TiB", 1))
    assert "no instance type has" in "\n".join(faults(place(load_spec(spec))))


def test_a_wrong_stack_stops_the_program_before_the_first_resource():
    with pytest.raises(pulumi.RunError) as error:
        deploy("aws-dev", put("network.nat", "sometimes"))
    assert "hybrid-platform:aws.network.nat" in str(error.value)


@pytest.mark.parametrize(
    ("platform", "stack", "told"),
    [
        ("reference", "aws-Prod", "takes a-z, 0-9 and single dashes"),
        ("two--dashes", "aws-dev", "takes a-z, 0-9 and single dashes"),
        ("reference", "aws-" + "x" * 40, "longer than 50"),
    ],
)
def test_a_name_that_aws_would_refuse_is_told(platform, stack, told):
    (fault,) = name_faults(platform, stack)
    assert told in fault and fault.startswith(f"stack {stack}: ")
    assert name_faults("reference", "aws-prod") == []


def test_where_state_and_secrets_live_is_left_to_who_deploys(stack):
    """A backend in the project, or a salt or key in a stack's file, would decide it for everybody."""
    assert "backend" not in yaml.safe_load((CHECKOUT / "Pulumi.yaml").read_text())
    assert list(yaml.safe_load((CHECKOUT / f"Pulumi.{stack}.yaml").read_text())) == ["config"]
    assert "secure:" not in (CHECKOUT / f"Pulumi.{stack}.yaml").read_text()


def test_a_forgotten_provider_fails(stack):
    """Stacks disable the default AWS provider, and only that: the dynamic resources of others need theirs."""
    assert stack_config(stack)["pulumi:disable-default-providers"] == ["aws"]


def test_every_option_is_documented():
    """docs/aws.md has each option by its path; what is not there cannot be found by an operator."""
    text = (CHECKOUT / "docs" / "aws.md").read_text()
    missing = [path for path in options(AwsConfig) if f"`{path}`" not in text]
    assert missing == []


def options(model: Any, prefix: str = "") -> list[str]:
    from pydantic import BaseModel

    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found += options(inner, f"{prefix}{name}.")
        else:
            found.append(f"{prefix}{name}")
    return found


@pytest.mark.parametrize("nat", ["none", "one", "per_zone"])
def test_nat_serves_the_private_tier_only(nat, prod):
    deployed = prod if nat == "none" else deploy("aws-prod", put("network.nat", nat)).deployment
    zones = stack_config("aws-prod")["hybrid-platform:aws"]["zones"]
    gateways = {g.name.removeprefix("network-nat-") for g in deployed.of("ec2/natGateway")}
    assert gateways == {"none": set(), "one": {zones[0]}, "per_zone": set(zones)}[nat]
    through = {
        route.props["routeTableId"].removeprefix("RouteTable-network-"): route.props["natGatewayId"]
        for route in deployed.of("ec2/route")
        if "natGatewayId" in route.props
    }
    assert set(through) == ({f"private-{zone}" for zone in zones} if gateways else set())
    if nat == "per_zone":
        assert all(gateway.endswith(table.removeprefix("private-")) for table, gateway in through.items())


def test_a_zone_more_moves_nothing(dev):
    """aws-dev has the zones a and b; c comes first in the list here, because the order must not matter either."""
    before, after = dev, deploy("aws-dev", put("zones", ["eu-central-1c", "eu-central-1a", "eu-central-1b"])).deployment
    ranges = {subnet.name: subnet.props["cidrBlock"] for subnet in after.of("ec2/subnet")}
    assert len(ranges) == 9
    for subnet in before.of("ec2/subnet"):
        assert ranges[subnet.name] == subnet.props["cidrBlock"]
