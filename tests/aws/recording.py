"""Deploy a stack as a whole under Pulumi's mocks, and keep every resource that it registers."""

from __future__ import annotations

import asyncio
import gc
import json
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import mocks, rpc, settings
from pulumi.runtime.config import set_all_config
from pulumi.runtime.stack import run_pulumi_func

from infra.placement import Plan, place
from infra.spec import load_spec
from policy.resources import Deployment, Resource

CHECKOUT = Path(__file__).parents[2]
PROJECT = "hybrid-platform"


@dataclass
class Recording:
    """One deployment.

    Attributes:
        resources: in the order of registration.
        outputs: what the stack exports.
        retained: URNs of what stays when the stack goes.
        calls: what the program asked AWS, by function.
    """

    stack: str
    plan: Plan
    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    retained: set[str] = field(default_factory=set)
    calls: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def exported(self) -> dict[str, Any]:
        """The recording in the shape of `pulumi stack export`."""
        of_provider = {"hybrid:platform": self.plan.spec.name, "hybrid:stack": self.stack, "hybrid:owner": "recorded"}
        stack = {
            "urn": f"urn:pulumi:{self.stack}::{PROJECT}::pulumi:pulumi:Stack::{PROJECT}-{self.stack}",
            "type": "pulumi:pulumi:Stack",
            "outputs": self.outputs,
        }
        resources = [
            {
                "urn": resource.urn,
                "type": resource.type,
                "id": physical_id(resource.type, resource.name),
                "inputs": dict(resource.props),
                "outputs": {
                    **invented(resource.type, resource.name, resource.props),
                    **resource.props,
                    "tagsAll": {**of_provider, **resource.tags},
                },
            }
            for resource in self.resources
        ]
        # Assets and archives are not plain data; nobody looks into them here.
        return json.loads(json.dumps({"version": 3, "deployment": {"resources": [stack, *resources]}}, default=str))

    @property
    def deployment(self) -> Deployment:
        return Deployment(self.resources, self.stack, self.plan)


def physical_id(type_: str, name: str) -> str:
    return f"{type_.split(':')[-1]}-{name}"


REGIONAL = "eu-central-1:111122223333"
# Of the types whose ARNs stand in policies or in other resources; each has a form of its own.
ARNS = {
    "aws:backup/vault:Vault": f"backup:{REGIONAL}:backup-vault:{{}}",
    "aws:cloudwatch/logGroup:LogGroup": f"logs:{REGIONAL}:log-group:{{}}",
    "aws:codebuild/project:Project": f"codebuild:{REGIONAL}:project/{{}}",
    "aws:ec2/subnet:Subnet": f"ec2:{REGIONAL}:subnet/{{}}",
    "aws:ecr/repository:Repository": f"ecr:{REGIONAL}:repository/{{}}",
    "aws:eks/cluster:Cluster": f"eks:{REGIONAL}:cluster/{{}}",
    "aws:iam/instanceProfile:InstanceProfile": "iam::111122223333:instance-profile/{}",
    "aws:iam/role:Role": "iam::111122223333:role/{}",
    "aws:imagebuilder/component:Component": f"imagebuilder:{REGIONAL}:component/{{}}/1.0.0",
    "aws:imagebuilder/distributionConfiguration:DistributionConfiguration": (
        f"imagebuilder:{REGIONAL}:distribution-configuration/{{}}"
    ),
    "aws:imagebuilder/imageRecipe:ImageRecipe": f"imagebuilder:{REGIONAL}:image-recipe/{{}}/1.0.0",
    "aws:imagebuilder/infrastructureConfiguration:InfrastructureConfiguration": (
        f"imagebuilder:{REGIONAL}:infrastructure-configuration/{{}}"
    ),
    "aws:kms/key:Key": f"kms:{REGIONAL}:key/{{}}",
    "aws:lb/loadBalancer:LoadBalancer": f"elasticloadbalancing:{REGIONAL}:loadbalancer/app/{{}}/50dc6c495c0c9188",
    "aws:lb/targetGroup:TargetGroup": f"elasticloadbalancing:{REGIONAL}:targetgroup/{{}}/73e2d6bc24d8a067",
    "aws:s3/bucket:Bucket": "s3:::{}",
    "aws:secretsmanager/secret:Secret": f"secretsmanager:{REGIONAL}:secret:{{}}-AbCdEf",
    "aws:sns/topic:Topic": f"sns:{REGIONAL}:{{}}",
}


def invented(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What AWS would answer, as far as the program looks at it."""
    label = inputs.get("name") or inputs.get("bucket") or name
    arn = ARNS.get(type_, f"mock:{REGIONAL}:{type_.split(':')[-1]}/{{}}").format(label)
    state = {"arn": f"arn:aws:{arn}", "name": label}
    extra: dict[str, dict[str, Any]] = {
        "aws:ec2/vpcEndpoint:VpcEndpoint": {"prefixListId": f"pl-{name}"},
        "aws:ec2/networkInterface:NetworkInterface": {"privateIp": f"10.64.128.{sum(name.encode()) % 250 + 4}"},
        "aws:ec2/launchTemplate:LaunchTemplate": {"latestVersion": 1},
        "aws:ebs/volume:Volume": {"arn": f"arn:aws:ec2:eu-central-1:111122223333:volume/{physical_id(type_, name)}"},
        "aws:ec2/vpc:Vpc": {"defaultNetworkAclId": f"acl-{name}"},
        "aws:kms/key:Key": {"keyId": physical_id(type_, name)},
        "aws:eks/cluster:Cluster": {
            "endpoint": "https://mock.eks.invalid",
            "certificateAuthority": {"data": "Y2VydA=="},
            "vpcConfig": {**inputs.get("vpcConfig", {}), "clusterSecurityGroupId": "sg-of-eks"},
        },
        "aws:eks/nodeGroup:NodeGroup": {"resources": [{"autoscalingGroups": [{"name": f"eks-{name}"}]}]},
        "aws:route53/zone:Zone": {"zoneId": f"zone-{name}"},
        "aws:lb/loadBalancer:LoadBalancer": {
            "dnsName": f"{name}.elb.invalid",
            "arnSuffix": f"app/{name}/1",
            "zoneId": "Z",
        },
        "aws:lb/targetGroup:TargetGroup": {"arnSuffix": f"targetgroup/{name}/1"},
        "aws:ecr/repository:Repository": {"repositoryUrl": f"111122223333.dkr.ecr.invalid/{label}"},
    }
    return state | extra.get(type_, {})


def in_clear(value: Any) -> Any:
    """The value with its secrets unwrapped; what is secret is another test's business."""
    if isinstance(value, dict):
        return in_clear(value["value"]) if rpc.is_rpc_secret(value) else {k: in_clear(v) for k, v in value.items()}
    return [in_clear(item) for item in value] if isinstance(value, list) else value


class Answers(mocks.Mocks):
    """Answers like a provider.

    Attributes:
        calls: what it was asked, by function.
    """

    def __init__(self) -> None:
        self.calls: dict[str, list[dict[str, Any]]] = {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return physical_id(args.typ, args.name), {**invented(args.typ, args.name, args.inputs), **args.inputs}

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:
        assert args.provider, f"{args.token} names no provider, and the default one is disabled"
        self.calls.setdefault(args.token, []).append(args.args)
        if args.token == "aws:ec2/getAmi:getAmi":
            return {**args.args, "id": f"ami-of-{args.args['filters'][0]['values'][0]}"}
        raise AssertionError(f"the program asks AWS for {args.token}, which nobody foresaw")


class RecordingMonitor(mocks.MockMonitor):
    """Writes down every registration with its options, which mocks alone do not get to see."""

    def __init__(self, recording: Recording) -> None:
        answers = Answers()
        super().__init__(answers)
        self.recording = recording
        recording.calls = answers.calls

    def RegisterResource(self, request: Any) -> Any:
        response = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            if request.retainOnDelete:
                self.recording.retained.add(response.urn)
            waits = set(request.dependencies)
            for of_property in request.propertyDependencies.values():
                waits.update(of_property.urns)
            self.recording.resources.append(
                Resource(
                    type=request.type,
                    name=request.name,
                    urn=response.urn,
                    props=in_clear(rpc.deserialize_properties(request.object)),
                    provider=request.provider,
                    parent=request.parent,
                    depends_on=frozenset(waits),
                    protect=request.protect,
                    ignore_changes=tuple(request.ignoreChanges),
                    delete_before_replace=request.deleteBeforeReplace,
                )
            )
        return response


def stack_config(stack: str) -> dict[str, Any]:
    return yaml.safe_load((CHECKOUT / f"Pulumi.{stack}.yaml").read_text())["config"]


def deploy(stack: str, edit: Callable[[dict[str, Any]], None] | None = None, spec: Path | None = None) -> Recording:
    """Run `__main__.py` itself for one stack, with the configuration of its file (after `edit`)."""
    spec = spec or CHECKOUT / "platform.yaml"
    monitor = RecordingMonitor(Recording(stack, place(load_spec(spec))))
    monitor.recording.outputs.update(deploy_to(monitor, stack, edit, spec))
    return monitor.recording


def deploy_to(
    monitor: mocks.MockMonitor, stack: str, edit: Callable[[dict[str, Any]], None] | None, spec: Path
) -> dict[str, Any]:
    """The same, to a monitor of one's own; what the stack exports."""
    config = stack_config(stack)
    if edit:
        edit(config[f"{PROJECT}:aws"])
    config[f"{PROJECT}:spec"] = str(spec)
    flat = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}

    # One event loop and one root a deployment: Pulumi leaves tasks and the stack behind in the old ones.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    settings.set_root_resource(None)
    mocks.set_mocks(Answers(), project=PROJECT, stack=stack, preview=False, monitor=monitor)
    set_all_config(flat)
    outputs: dict[str, Any] = {}

    def program() -> None:
        runpy.run_path(str(CHECKOUT / "__main__.py"), run_name="__main__")
        for name, value in settings.get_root_resource().outputs.items():
            # An output is taken as it is: to look for outputs inside of an inventory costs more than to make it.
            output = value if isinstance(value, pulumi.Output) else pulumi.Output.from_input(value)
            output.apply(partial(outputs.__setitem__, name))

    try:
        loop.run_until_complete(run_pulumi_func(program))
    finally:
        loop.close()
        asyncio.set_event_loop(None)
        gc.enable()  # one program may do without; many in one process may not
    return outputs
