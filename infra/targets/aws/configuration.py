"""The hand-over to Ansible: one inventory, and the places from which playbooks run.

Machines run their playbooks themselves: at first boot, then by an SSM association that Pulumi touches with every new
bundle. What runs inside the cluster is applied by a job in the VPC; see automation.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.inventory import VM_TIER, Host, Inventory, databases
from infra.placement import Plan, Runtime
from infra.targets.aws.boot import script
from infra.targets.aws.cidr import Tier, subnet_cidr
from infra.targets.aws.machine import StatefulMember
from infra.targets.aws.site import Site
from infra.targets.aws.vm_tier import password_callers


def inventory(
    site: Site,
    plan: Plan,
    zones: Sequence[str],
    vpc_cidr: str,
    members: Mapping[str, Sequence[StatefulMember]],
    addresses: Mapping[str, str],
    bucket: str,
    workloads: Iterable[str] | None = None,
) -> Inventory:
    """The hosts of the VM tier, or of these workloads, reached through Session Manager: no port is open for it."""
    # Pods have addresses of the private tier.
    cluster_ranges = [subnet_cidr(vpc_cidr, Tier.PRIVATE, zone) for zone in zones]
    on_machines = plan.on(Runtime.VM)
    own = " ".join(f"Name=tag:{tag},Values={value}" for tag, value in site.own.items())

    def sources(workload: str) -> list[str]:
        callers = plan.callers_of(workload)
        machines = [addresses[member.host] for caller in callers if caller in members for member in members[caller]]
        return sorted(machines) + (cluster_ranges if set(callers) - set(members) else [])

    hosts = [
        Host(
            member.host,
            (VM_TIER, workload),
            {
                "ansible_connection": "community.aws.aws_ssm",
                "ansible_aws_ssm_region": site.region,
                "ansible_aws_ssm_bucket_name": bucket,
                "ansible_aws_ssm_document": f"{site.prefix}-session",
                # The group gives a lost member a new machine; who it is now is asked when it is needed.
                "ansible_aws_ssm_instance_id": (
                    "{{ lookup('ansible.builtin.pipe', 'aws ec2 describe-instances --region "
                    f"{site.region} --filters Name=tag:hybrid:member,Values={member.host} "
                    f"{own} Name=instance-state-name,Values=running "
                    "--query Reservations[0].Instances[0].InstanceId --output text') }}"
                ),
                "ansible_host": addresses[member.host],
                "ansible_python_interpreter": "/usr/bin/python3",
                "workload": workload,
                "workload_package": spec.package or "",
                "os_release": spec.os,
                # Patched by itself, a machine leaves its reboot to SSM (boot/play.sh).
                "patching_reboot": "never",
                "patching_evidence_directory": "/var/log/hybrid/patching",
                # Amazon's, on every instance's own link; the tier has no way to any other.
                "hardening_time_servers": ["169.254.169.123"],
                "password_callers": list(password_callers(plan, workload)),
                # Nobody comes by SSH; the role wants a source, and this one is the machine itself.
                "firewall_management_sources": ["127.0.0.1"],
                "firewall_allow": [{"port": port, "sources": sources(workload)} for port in spec.ports],
                **(database_variables(plan, workload, sources(workload)) if spec.package == "postgresql" else {}),
            },
        )
        for workload in (on_machines if workloads is None else workloads)
        for spec in [on_machines[workload]]
        for member in members[workload]
    ]
    return Inventory(tuple(hosts), {"aws_region": site.region, "cluster_name": site.prefix})


def database_variables(plan: Plan, workload: str, sources: Sequence[str]) -> dict[str, Any]:
    spec, callers = plan.spec.workloads[workload], plan.callers_of(workload)
    return {
        "postgresql_port": spec.ports[0],
        "postgresql_memory_mb": spec.resources.memory // 2**20,
        "postgresql_data_mount": "/srv/data",
        # The boot library publishes it for the callers.
        "postgresql_ca_destination": "/opt/hybrid/authority.pem",
        "postgresql_clients": [source if "/" in source else f"{source}/32" for source in sources],
        "postgresql_databases": databases(workload, callers),
        # Each member is a primary by itself, so its window is its downtime.
        "patching_allow_downtime": True,
    }


@dataclass(frozen=True)
class ConvergenceArgs:
    """
    Attributes:
        digest: of the bundle; a new one makes every association run again.
        inventories: what tells members who they are, by workload.
    """

    site: Site
    plan: Plan
    members: Mapping[str, Sequence[StatefulMember]]
    bucket: str
    packages_url: str
    digest: str
    inventories: Mapping[str, pulumi.Resource]


class Convergence(pulumi.ComponentResource):
    """The document that runs a playbook on a member, and an association a workload that keeps members as they should
    be: with every new bundle, and daily, one member at a time.

    Attributes:
        documents: the name of the document, by workload.
    """

    def __init__(self, name: str, args: ConvergenceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Convergence", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.documents: dict[str, pulumi.Output[str]] = {}
        for workload, spec in args.plan.on(Runtime.VM).items():
            label = f"{name}-{workload}"
            known = {
                "region": args.site.region,
                "workload": workload,
                "ports": " ".join(str(port) for port in spec.ports),
                "path": args.site.path,
                "bucket": args.bucket,
                "packages": args.packages_url,
            }
            document = aws.ssm.Document(
                label,
                name=f"{args.site.prefix}-play-{workload}",
                document_type="Command",
                document_format="JSON",
                target_type="/AWS::EC2::Instance",
                content=play_document(known),
                opts=child,
            )
            self.documents[workload] = document.name
            aws.ssm.Association(
                label,
                association_name=f"{args.site.prefix}-{workload}",
                name=document.name,
                targets=[
                    aws.ssm.AssociationTargetArgs(key="tag:hybrid:workload", values=[workload]),
                    *(
                        aws.ssm.AssociationTargetArgs(key=f"tag:{tag}", values=[value])
                        for tag, value in args.site.own.items()
                    ),
                ],
                parameters={"Playbook": "playbooks/vm_tier.yml", "Bundle": args.digest},
                schedule_expression="rate(1 day)",
                max_concurrency="1",
                max_errors="0",
                compliance_severity="HIGH",
                opts=pulumi.ResourceOptions(
                    parent=self,
                    depends_on=[args.inventories[workload], *(member.ready for member in args.members[workload])],
                ),
            )
        self.register_outputs({})


def play_document(variables: Mapping[str, str]) -> str:
    """An SSM document that runs one of the bundle's playbooks. The member's name comes from its own tag, through the
    host name that the boot script left in /opt/hybrid/member."""
    assignments = {**variables, "volume": "", "golden": "", "group": ""}
    text = script("play.sh", assignments).removeprefix("#!/bin/bash\n")
    lines = [
        "#!/bin/bash",
        "HYBRID_PLAYBOOK='{{ Playbook }}' HYBRID_MEMBER=$(cat /opt/hybrid/member || echo none)",
        text,
    ]
    return json.dumps(
        {
            "schemaVersion": "2.2",
            "description": "Run a playbook of the current bundle on this machine",
            "parameters": {
                "Playbook": {
                    "type": "String",
                    "description": "Path in the bundle",
                    "default": "playbooks/vm_tier.yml",
                    "allowedPattern": "^playbooks/[a-z0-9_]+\\.yml$",
                },
                "Bundle": {
                    "type": "String",
                    "description": "Digest of the bundle that asked for this run; machines read the current one",
                    "default": "current",
                    "allowedPattern": "^([0-9a-f]{64}|current)$",
                },
            },
            "mainSteps": [
                {
                    "action": "aws:runShellScript",
                    "name": "Play",
                    "inputs": {"timeoutSeconds": "7200", "runCommand": lines},
                }
            ],
        },
        sort_keys=True,
    )
