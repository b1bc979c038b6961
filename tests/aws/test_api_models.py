"""What AWS's own API would refuse though mocks take it: unknown values, names that are too long or have a wrong letter,
numbers out of range, fields that a call requires. The models are those that boto3 calls by.

api_models.yaml says which call each type becomes. A property that is in no model fails: nothing goes by unseen.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.model import ListShape, MapShape, StructureShape
from recording import CHECKOUT, deploy

from infra.targets.aws.site import shortened
from policy.resources import Deployment, Resource

CALLS = yaml.safe_load((CHECKOUT / "tests" / "aws" / "api_models.yaml").read_text())
# Types that are made with the VPC, of nothing but its id, or by a call for each entry (test_security.py reads those).
WITHOUT_RULES = {"ec2/defaultNetworkAcl", "ec2/defaultSecurityGroup", "ec2/internetGateway", "ec2/networkAcl"}
RANDOM = "-0123abc"  # what Pulumi puts behind a name that the program leaves to it
NUMBERS = {"integer", "long", "double", "float"}
TEXT_OF_SECURITY_GROUPS = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{0,255}")
TAG = re.compile(r"[\w\s.:/=+\-@]*")


@cache
def session() -> botocore.session.Session:
    return botocore.session.get_session()


def kind_of(resource: Resource) -> str:
    return resource.type.split(":")[1]


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).rstrip("s")


class Reading:
    """One resource against the model of its call; `faults` is what AWS would have against it.

    Attributes:
        made_up: what mocks invented: ids of no form that AWS would know.
        structures: every structure of the request by its place, with the members that it got.
    """

    def __init__(self, resource: Resource, made_up: set[str]) -> None:
        entry, self.made_up = CALLS[kind_of(resource)], made_up
        self.renamed: dict[str, str] = entry.get("as") or {}
        self.beside: list[str] = entry.get("beside") or []
        self.faults: list[str] = []
        self.structures: dict[str, tuple[Any, set[str]]] = {}
        service, operation, *inside = entry["call"].split()
        shape: Any = session().get_service_model(service).operation_model(operation).input_shape
        for member in inside:
            shape = shape.members[member]
        props = {key: value for key, value in resource.props.items() if key not in ("tags", "region")}
        if "name" not in props and self.member(shape, self.renamed.get("name", "name")):
            props["name"] = resource.name + RANDOM
        for target, value in (entry.get("given") or {}).items():
            self.put(shape, "", target, target.split("."), value)
        self.structure(shape, "", "", props)
        for place, (found, members) in self.structures.items():
            for member in set(found.required_members) - members:
                if not found.members[member].metadata.get("idempotencyToken"):
                    self.faults.append(f"{place or found.name} lacks {member}")

    def structure(self, shape: Any, place: str, path: str, value: Any) -> None:
        if not isinstance(value, dict):
            self.faults.append(f"{path} is no structure")
            return
        self.structures.setdefault(place, (shape, set()))
        for key, inner in value.items():
            where = f"{path}.{key}".lstrip(".")
            if where in self.beside or inner is None:
                continue
            if where not in self.renamed and isinstance(inner, dict) and not self.member(shape, key):
                self.structure(shape, place, where, inner)  # what the provider groups, and the call has flat
            else:
                self.put(shape, place, where, self.renamed.get(where, key).split("."), inner)

    def member(self, shape: Any, name: str) -> str | None:
        found = getattr(shape, "members", {})
        name = name.split(".")[0]
        return name if name in found else next((member for member in found if plain(member) == plain(name)), None)

    def put(self, shape: Any, place: str, where: str, target: list[str], value: Any) -> None:
        while isinstance(shape, ListShape):
            shape = shape.member
        found = self.member(shape, target[0])
        if not found:
            self.faults.append(f"{where} is in no field of {shape.name}")
            return
        self.structures.setdefault(place, (shape, set()))[1].add(found)
        if len(target) > 1:
            self.put(shape.members[found], f"{place}/{found}", where, target[1:], value)
        else:
            self.value(shape.members[found], f"{place}/{found}", where, value)

    def value(self, shape: Any, place: str, where: str, value: Any) -> None:
        if isinstance(shape, StructureShape):
            # The provider writes a list of one where the call takes one.
            one = value[0] if isinstance(value, list) and len(value) == 1 else value
            self.structure(shape, place, where, one)
        elif isinstance(shape, ListShape):
            items = value if isinstance(value, list) else [value]
            self.bounds(shape, where, len(items), "entries")
            for number, item in enumerate(items):
                self.value(shape.member, f"{place}/{number}", where, item)
        elif isinstance(shape, MapShape):
            for key, item in value.items():
                self.value(shape.key, place, where, key)
                self.value(shape.value, f"{place}/{key}", where, item)
        elif shape.type_name == "string":
            self.text(shape, where, value)
        elif shape.type_name in NUMBERS:
            self.bounds(shape, where, float(value), "as a number")
        elif shape.type_name == "boolean" and value not in (True, False, "true", "false"):
            self.faults.append(f"{where}: {value!r} is neither true nor false")

    def text(self, shape: Any, where: str, value: Any) -> None:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if shape.enum and text not in shape.enum:
            self.faults.append(f"{where}: {text!r} is none of {', '.join(shape.enum[:8])}")
        if text in self.made_up or ":mock:" in text:
            return  # an id of the mocks
        self.bounds(shape, where, len(text), "characters")
        pattern = shape.metadata.get("pattern")
        if pattern and not re.search(translated(pattern), text, re.DOTALL):
            self.faults.append(f"{where}: {text[:80]!r} is not like {pattern}")

    def bounds(self, shape: Any, where: str, size: float, what: str) -> None:
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        if (least is not None and size < least) or (most is not None and size > most):
            self.faults.append(f"{where} has {size:g} {what}; AWS takes {least} to {most}")


def translated(pattern: str) -> str:
    r"""The models' patterns are Java's: \p{L} and the like, and anchored unless they say otherwise."""
    pattern = re.sub(r"\(\?[a-z]+\)", "", pattern).replace(r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010ffff")
    for java, python in ((r"\p{L}", "a-zA-Z"), (r"\p{Z}", " "), (r"\p{N}", "0-9"), (r"\p{S}", r"$+<=>^`|~")):
        pattern = pattern.replace(java, python)
    pattern = re.sub(r"\\u([0-9a-fA-F]{4})|\\x\{?([0-9a-fA-F]{4,6})\}?", lambda m: chr(int(m[1] or m[2], 16)), pattern)
    return pattern if pattern.startswith("^") else f"^(?:{pattern})$"


def faults(deployment: Deployment) -> Iterator[str]:
    made_up = {f"{r.type.split(':')[-1]}-{r.name}" for r in deployment} | {f"zone-{r.name}" for r in deployment}
    made_up |= {f"pl-{r.name}" for r in deployment}
    for resource in deployment.aws():
        if kind_of(resource) in CALLS:
            yield from (f"{resource.type} {resource.name}: {fault}" for fault in Reading(resource, made_up).faults)


@pytest.fixture(scope="module")
def longest_names(tmp_path_factory) -> Deployment:
    """The same platform with names as long as platform.yaml and AWS take them, a promoted image, NAT, and a second
    public workload, which is on a machine."""
    text = (CHECKOUT / "platform.yaml").read_text()
    for name in ("ledger", "tariffs", "web", "worker"):
        text = re.sub(rf"(?m)(^  |talks_to:.*?\b){name}\b", lambda m: m[0] + "x" * (32 - len(name)), text)  # noqa: B023
    for name in ("ledger", "tariffs", "worker"):  # in the middle of a list
        text = re.sub(rf"(?<=[ \[]){name}(?=[,\]])", name + "x" * (32 - len(name)), text)
    text = re.sub(r"(?m)^name: reference$", "name: " + "p" * 32, text)
    assert "    ports: [7070]\n" in text
    text = text.replace("    ports: [7070]\n", "    ports: [7070]\n    public: true\n")
    spec = tmp_path_factory.mktemp("spec") / "platform.yaml"
    spec.write_text(text)

    def promoted(config: dict[str, Any]) -> None:
        config["vm_tier"]["images"]["debian-13"]["golden"] = "ami-0123456789abcdef0"
        config["patching"]["canaries"] = []
        config["network"]["nat"] = "per_zone"

    return deploy("aws-prod", promoted, spec).deployment


def test_aws_would_take_every_resource(deployed):
    assert list(faults(deployed)) == []


def test_aws_would_take_the_longest_names(longest_names):
    assert max(len(name) for name in longest_names.plan.spec.workloads) == 32
    assert list(faults(longest_names)) == []


def spoiled(deployment: Deployment, kind: str, path: str, value: Any) -> list[str]:
    """The faults of one resource of a kind after one property was changed, or taken away."""
    victim = deployment.of(kind)[0]
    props = copy.deepcopy(dict(victim.props))
    *parents, last = path.split(".")
    target: Any = props
    for part in parents:
        target = target[int(part)] if isinstance(target, list) else target[part]
    if value is None:
        del target[last]
    else:
        target[last] = value
    return list(faults(Deployment([replace(victim, props=props)], deployment.stack, deployment.plan)))


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("ssm/patchBaseline", "approvalRules.0.patchFilters.0.key", "PRIORTY", "'PRIORTY' is none of"),
        ("ssm/maintenanceWindow", "duration", 30, "as a number; AWS takes 1 to 24"),
        ("ssm/maintenanceWindow", "name", "a window", "is not like"),
        ("ssm/maintenanceWindowTask", "taskInvocationParameters.runCommandParameters.timeoutSeconds", 5, "30 to"),
        ("imagebuilder/lifecyclePolicy", "policyDetails.0.filter.type", "OLD", "'OLD' is none of AGE"),
        ("imagebuilder/imageRecipe", "blockDeviceMappings.0.ebs.volumeType", "gp4", "'gp4' is none of"),
        ("eks/nodeGroup", "amiType", "AL2023", "'AL2023' is none of"),
        ("ec2/launchTemplate", "metadataOptions.httpTokens", "yes", "'yes' is none of"),
        ("lb/listener", "loadBalancerArn", None, "lacks LoadBalancerArn"),
        ("codebuild/project", "environment.privilegd", True, "environment.privilegd is in no field"),
        ("backup/vault", "name", "v" * 60, "is not like"),
        ("kms/alias", "name", "no alias!", "is not like"),
        ("route53/record", "type", "ADDRESS", "'ADDRESS' is none of"),
        ("lb/listenerRule", "priority", 60000, "AWS takes 1 to 50000"),
        ("ec2/eip", "domain", "nat", "'nat' is none of"),
        ("s3/bucketObjectv2", "key", None, "lacks Key"),
    ],
)
def test_what_aws_would_refuse_is_noticed(longest_names, kind, path, value, told):
    assert told in "\n".join(spoiled(longest_names, kind, path, value))


def test_every_type_is_read_or_has_no_rules(prod, longest_names):
    """And every call that is written down is read in one of them."""
    found = {kind_of(resource) for resource in [*prod.aws(), *longest_names.aws()]}
    assert found == set(CALLS) | WITHOUT_RULES


def test_names_of_buckets_differ_and_are_names(prod, dev, longest_names):
    """The whole world shares them; AWS takes 3 to 63 of a-z, 0-9 and dashes, and no dash at an end."""
    for deployment in (prod, dev, longest_names):
        names = [bucket.props["bucket"] for bucket in deployment.of("s3/bucket")]
        assert len(set(names)) == len(names) > 2
        assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name) for name in names), names


def test_names_that_begin_alike_stay_apart():
    names = [
        shortened(f"{'platform-' * 8}{end}", 63) for end in ("444455556666-eu-central-1", "444455556666-eu-west-1")
    ]
    assert len(set(names)) == 2 and all(len(name) <= 63 for name in names)
    assert shortened("as-it-is", 63) == "as-it-is"


def test_names_of_backup_plans_are_short(longest_names, prod):
    """The model does not say what its documentation does."""
    for deployment in (longest_names, prod):
        names = [plan.props["name"] for plan in deployment.of("backup/plan")]
        assert names and len(set(names)) == len(names)
        assert all(re.fullmatch(r"[\w.-]{1,50}", name) for name in names)


def test_names_of_target_groups_are_short_and_no_others(longest_names, prod):
    for deployment in (longest_names, prod):
        names = [group.props["name"] for group in deployment.of("lb/targetGroup")]
        assert names and len(set(names)) == len(names)
        assert all(re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9-]{0,30}[a-zA-Z0-9]", name) for name in names), names


def test_text_of_security_groups_has_no_letter_that_ec2_refuses(deployed):
    kinds = ("ec2/securityGroup", "vpc/securityGroupIngressRule", "vpc/securityGroupEgressRule")
    for resource in deployed.of(*kinds):
        assert TEXT_OF_SECURITY_GROUPS.fullmatch(resource.props["description"]), resource.props["description"]


def test_tags_are_tags(deployed):
    for resource in deployed.aws():
        assert len(resource.tags) <= 40
        for key, value in resource.tags.items():
            assert TAG.fullmatch(key) and len(key) <= 128 and not key.startswith("aws:")
            assert TAG.fullmatch(value) and len(value) <= 256


# What the models say in words only: https://docs.aws.amazon.com, by service.


def test_a_fixed_interface_leaves_no_other_choice_of_network(deployed):
    """A group launches into an existing interface by its zone alone; a template with one names no groups beside it."""
    for group in deployed.of("autoscaling/group"):
        assert len(group.props["availabilityZones"]) == 1 and "vpcZoneIdentifiers" not in group.props
        template = deployed.one("ec2/launchTemplate", group.name).props
        assert not {"vpcSecurityGroupIds", "securityGroupNames"} & set(template)
        (interface,) = template["networkInterfaces"]
        assert set(interface) == {"deviceIndex", "networkInterfaceId"}
        owned = deployed.one("ec2/networkInterface", group.name).props
        subnet = next(s for s in deployed.of("ec2/subnet") if owned["subnetId"].endswith(s.name))
        assert subnet.props["availabilityZone"] == group.props["availabilityZones"][0]


def test_a_node_group_and_its_template_do_not_say_the_same_twice(deployed):
    for group in deployed.of("eks/nodeGroup"):
        template = deployed.one("ec2/launchTemplate", group.name).props
        assert not {"diskSize", "remoteAccess"} & set(group.props)
        assert not {"imageId", "instanceType", "iamInstanceProfile", "instanceMarketOptions"} & set(template)


def test_backups_end_after_they_begin_and_within_the_locks_bounds(prod):
    (lock,) = prod.of("backup/vaultLockConfiguration")
    for plan in prod.of("backup/plan"):
        for rule in plan.props["rules"]:
            assert rule["startWindow"] >= 60 and rule["completionWindow"] >= rule["startWindow"] + 60
            assert lock.props["minRetentionDays"] <= rule["lifecycle"]["deleteAfter"] <= lock.props["maxRetentionDays"]


def test_alarms_look_back_no_longer_than_cloudwatch_does(deployed):
    for alarm in deployed.of("cloudwatch/metricAlarm"):
        period, span = alarm.props["period"], alarm.props["period"] * alarm.props["evaluationPeriods"]
        assert period in (10, 20, 30) or period % 60 == 0
        assert span <= (604800 if period >= 3600 else 86400), alarm.name


def test_windows_close_before_they_end(deployed):
    for window in deployed.of("ssm/maintenanceWindow"):
        assert window.props["cutoff"] < window.props["duration"]
        assert re.fullmatch(r"cron\((\S+ ){5}\S+\)", window.props["schedule"])


def test_schedules_have_six_fields_one_of_the_two_days_open(deployed):
    """In AWS's cron the day of the month or the day of the week is `?`."""
    schedules = [
        value
        for resource in deployed.aws()
        for value in re.findall(r"cron\(([^)]*)\)", str(dict(resource.props)))
        if not resource.is_a("s3/bucketObjectv2")
    ]
    assert len(schedules) > 5
    for schedule in schedules:
        fields = schedule.split()
        assert len(fields) == 6 and [fields[2], fields[4]].count("?") == 1, schedule
