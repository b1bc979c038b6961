"""No bill that nobody expected."""

from __future__ import annotations

import re
from collections.abc import Iterator

from policy.resources import UNKNOWN, Deployment, Violation, rule, violation

# vCPUs by size. Bigger ones, metal and accelerated families are a decision that somebody signs.
LARGEST = 32
VCPUS = {"nano": 2, "micro": 2, "small": 2, "medium": 2, "large": 2, "xlarge": 4}
ORDINARY = re.compile(r"^(?:t3a?|t4g|[mcr][5-9][a-z-]*)\.(nano|micro|small|medium|large|(?:(\d+))?xlarge)$")
MOST_NAT_GATEWAYS = 3


def vcpus(instance_type: str) -> int | None:
    """vCPUs of an ordinary type, None of any other."""
    match = ORDINARY.match(instance_type)
    if not match:
        return None
    return VCPUS["xlarge"] * int(match[2]) if match[2] else VCPUS[match[1]]


@rule
def instance_types_are_ordinary(deployment: Deployment) -> Iterator[Violation]:
    """General, burstable, compute and memory families up to 32 vCPUs: a typing error in a size is a month's salary."""
    launchers = ("ec2/launchTemplate", "ec2/instance", "eks/nodeGroup", "imagebuilder/infrastructureConfiguration")
    for resource in deployment.of(*launchers):
        types = resource.props.get("instanceTypes") or [resource.props.get("instanceType")]
        for name in types:
            if not name or name == UNKNOWN:
                continue
            size = vcpus(name)
            if size is None:
                yield violation(resource, f"uses {name}, which is no ordinary family")
            elif size > LARGEST:
                yield violation(resource, f"uses {name} with {size} vCPUs; {LARGEST} are allowed")


@rule
def spending_is_watched(deployment: Deployment) -> Iterator[Violation]:
    """There is a monthly budget, and somebody hears of it before it is spent."""
    if not deployment.aws():
        return
    budgets = deployment.of("budgets/budget")
    if not budgets:
        yield Violation("there is no budget")
    for budget in budgets:
        notifications = budget.props.get("notifications") or ()
        if not any(
            n.get("subscriberSnsTopicArns") or n.get("subscriberEmailAddresses") for n in notifications
        ) or not any(n.get("threshold", 101) <= 100 for n in notifications):
            yield violation(budget, "tells nobody before it is spent")


@rule
def gateways_are_counted(deployment: Deployment) -> Iterator[Violation]:
    """NAT costs by the hour and by the byte: a gateway a zone at most."""
    zones = {subnet.props.get("availabilityZone") for subnet in deployment.of("ec2/subnet")}
    gateways = deployment.of("ec2/natGateway")
    if len(gateways) > max(len(zones), 1) or len(gateways) > MOST_NAT_GATEWAYS:
        yield Violation(f"{len(gateways)} NAT gateways for {len(zones)} zones")
