"""What makes a bad day survivable: backups, logs, alarms, protection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policy.resources import UNKNOWN, Deployment, Violation, rule, violation

CONTROL_PLANE_LOGS = {"api", "audit", "authenticator", "controllerManager", "scheduler"}
BACKUP_TAG = "hybrid:backup"
COMPARISONS = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
SILENCE_IS = {True: "breaching", False: "notBreaching"}
MINUTE, DAY = 60, 24 * 3600


@dataclass(frozen=True)
class Meaning:
    """What a metric says.

    Attributes:
        well: a value on a good day; there is none of alarm.
        bad: the mildest value that somebody has to hear of.
        silence: whether no value at all is bad.
        within: seconds after which somebody has heard of it.
    """

    well: float
    bad: float
    silence: bool
    within: int


# By namespace and metric; a metric by no name stands for all of its namespace.
MEANINGS = {
    ("AWS/AutoScaling", "GroupInServiceInstances"): Meaning(1, 0, silence=True, within=10 * MINUTE),
    # A machine that is gone has no status checks; its group tells of it.
    ("AWS/EC2", "StatusCheckFailed"): Meaning(0, 1, silence=False, within=10 * MINUTE),
    ("AWS/ApplicationELB", "HealthyHostCount"): Meaning(1, 0, silence=True, within=5 * MINUTE),
    ("Hybrid/Patching", "DaysSincePatched"): Meaning(7, 8, silence=True, within=2 * DAY),
    ("Hybrid/Audit", ""): Meaning(0, 1, silence=False, within=10 * MINUTE),
}


@rule
def what_keeps_state_is_backed_up(deployment: Deployment) -> Iterator[Violation]:
    """Every data volume has a class, every class a plan whose backups are kept for a week at least."""
    selected = {
        condition.get("value")
        for selection in deployment.of("backup/selection")
        for group in selection.props.get("conditions") or ()
        for condition in group.get("stringEquals") or ()
        if condition.get("key") == f"aws:ResourceTag/{BACKUP_TAG}"
    }
    for volume in deployment.of("ebs/volume"):
        if volume.tags.get(BACKUP_TAG) not in selected:
            yield violation(volume, "is in no backup plan")
    for plan in deployment.of("backup/plan"):
        for entry in plan.props.get("rules") or ():
            if ((entry.get("lifecycle") or {}).get("deleteAfter") or 0) < 7:
                yield violation(plan, f"forgets {entry.get('ruleName')} within a week")


@rule
def stateful_workloads_have_a_disk_of_their_own(deployment: Deployment) -> Iterator[Violation]:
    """The data of a stateful workload outlives its machine: on AWS on a volume for each member."""
    if not deployment.of("ec2/vpc"):
        return
    for placement in deployment.plan.placements:
        workload = deployment.plan.spec.workloads[placement.workload]
        if placement.runtime.value == "vm" and workload.stateful:
            volumes = [v for v in deployment.of("ebs/volume") if v.tags.get("hybrid:workload") == placement.workload]
            if len(volumes) != workload.replicas:
                yield Violation(f"{placement.workload} has {len(volumes)} data volumes for {workload.replicas} members")


@rule
def a_lost_member_pages_somebody(deployment: Deployment) -> Iterator[Violation]:
    """Each group of the VM tier has an alarm that goes off when nobody is in it, and every alarm tells somebody."""
    alarms = deployment.of("cloudwatch/metricAlarm")
    on_groups = [alarm for alarm in alarms if alarm.props.get("metricName") == "GroupInServiceInstances"]
    watched = {urn for alarm in on_groups for urn in alarm.depends_on}
    for group in deployment.of("autoscaling/group"):
        if group.urn not in watched:
            yield violation(group, "can lose its member without a word")
    for alarm in alarms:
        if not alarm.props.get("alarmActions") or alarm.props.get("actionsEnabled") is False:
            yield violation(alarm, "tells nobody")
    heard = {urn for subscription in deployment.of("sns/topicSubscription") for urn in subscription.depends_on}
    for topic in deployment.of("sns/topic"):
        if topic.urn not in heard:
            yield violation(topic, "has no subscriber")


@rule
def alarms_go_off_when_something_is_wrong(deployment: Deployment) -> Iterator[Violation]:
    """An alarm is judged by what its metric means: it keeps quiet on a good day, goes off at the mildest bad value and,
    where silence is bad, at none; and soon enough. One on a metric of which nobody has said that is refused."""
    for alarm in deployment.of("cloudwatch/metricAlarm"):
        props = alarm.props
        place = (str(props.get("namespace")), str(props.get("metricName")))
        meaning = MEANINGS.get(place) or MEANINGS.get((place[0], ""))
        if UNKNOWN in place:
            continue
        if meaning is None:
            yield violation(alarm, f"is on {' '.join(place)}, of which nobody has said what is bad (MEANINGS)")
        else:
            yield from (violation(alarm, fault) for fault in _misjudgements(props, meaning))


def _misjudgements(alarm: Mapping[str, Any], meaning: Meaning) -> Iterator[str]:
    goes_off = COMPARISONS.get(str(alarm.get("comparisonOperator")))
    threshold = alarm.get("threshold")
    if goes_off is None or not isinstance(threshold, int | float):
        yield "compares with no number"
        return
    if goes_off(meaning.well, threshold):
        yield f"goes off at {meaning.well:g}, which is a good day"
    if not goes_off(meaning.bad, threshold):
        yield f"keeps quiet at {meaning.bad:g}"
    if alarm.get("treatMissingData") != SILENCE_IS[meaning.silence]:
        yield f"does not take silence for {SILENCE_IS[meaning.silence]}"
    periods = alarm.get("evaluationPeriods") or 1
    if (alarm.get("period") or 0) * periods > meaning.within or (alarm.get("datapointsToAlarm") or periods) > periods:
        yield f"goes off later than {meaning.within} s after"


@rule
def members_are_replaced_behind_a_health_gate(deployment: Deployment) -> Iterator[Violation]:
    """A group of the VM tier has one member, which has to say that it is healthy; silence means no."""
    for group in deployment.of("autoscaling/group"):
        sizes = {group.props.get(size) for size in ("minSize", "maxSize", "desiredCapacity")}
        if sizes != {1}:
            yield violation(group, "is not a group of one: two members cannot hold one interface and one volume")
        hooks = group.props.get("initialLifecycleHooks") or ()
        if not any(hook.get("defaultResult") == "ABANDON" for hook in hooks):
            yield violation(group, "counts a machine as healthy that never said so")


@rule
def production_is_protected_from_deletion(deployment: Deployment) -> Iterator[Violation]:
    """In production, what holds data or serves clients cannot be deleted by a slip."""
    if not deployment.is_production:
        return
    for kind, switch in (("eks/cluster", "deletionProtection"), ("lb/loadBalancer", "enableDeletionProtection")):
        for resource in deployment.of(kind):
            if not resource.props.get(switch):
                yield violation(resource, f"has no {switch}")
    for kind, switch in (("ecr/repository", "forceDelete"), ("backup/vault", "forceDestroy")):
        for resource in deployment.of(kind):
            if resource.props.get(switch):
                yield violation(resource, f"goes with all that is in it: {switch}")
    for secret in deployment.of("secretsmanager/secret"):
        if secret.props.get("recoveryWindowInDays") == 0:
            yield violation(secret, "cannot be called back")
    for resource in deployment.of("ebs/volume", "eks/cluster", "backup/vault", "kms/key"):
        if not resource.protect:
            yield violation(resource, "is not protected in Pulumi")
    for volume in deployment.of("ebs/volume"):
        if not volume.props.get("finalSnapshot"):
            yield violation(volume, "leaves no snapshot behind")
    if deployment.of("backup/vault") and not deployment.of("backup/vaultLockConfiguration"):
        yield Violation("the backup vault is not locked")


@rule
def everything_that_happens_is_on_record(deployment: Deployment) -> Iterator[Violation]:
    """Flow logs for every VPC, all logs of the control plane, trails that are whole and cannot be forged."""
    flows = [flow for flow in deployment.of("ec2/flowLog") if flow.props.get("trafficType") == "ALL"]
    logged = {urn for flow in flows for urn in flow.depends_on}
    for vpc in deployment.of("ec2/vpc"):
        if vpc.urn not in logged:
            yield violation(vpc, "has no flow logs")
    for cluster in deployment.of("eks/cluster"):
        missing = CONTROL_PLANE_LOGS - set(cluster.props.get("enabledClusterLogTypes") or ())
        if missing:
            yield violation(cluster, f"does not log {', '.join(sorted(missing))}")
        access = cluster.props.get("accessConfig") or {}
        if access.get("authenticationMode") != "API" or access.get("bootstrapClusterCreatorAdminPermissions"):
            yield violation(cluster, "has administrators that no access entry names")
    for trail in deployment.of("cloudtrail/trail"):
        if not (trail.props.get("enableLogFileValidation") and trail.props.get("isMultiRegionTrail")):
            yield violation(trail, "has gaps: it must be of all regions, with validated files")
        if trail.props.get("enableLogging") is False or trail.props.get("includeGlobalServiceEvents") is False:
            yield violation(trail, "is switched off, for all or for services without a region")


@rule
def windows_and_groups_for_every_machine(deployment: Deployment) -> Iterator[Violation]:
    """Every workload of the VM tier is in a patch group of a baseline, and in a window; no window is without end."""
    groups = {group.props.get("patchGroup") for group in deployment.of("ssm/patchGroup")}
    targeted = {
        value
        for target in deployment.of("ssm/maintenanceWindowTarget")
        for entry in target.props.get("targets") or ()
        for value in entry.get("values") or ()
    }
    for group in deployment.of("autoscaling/group"):
        own = group.tags.get("PatchGroup")
        if own not in groups:
            yield violation(group, "is in no patch group with a baseline")
        if own not in targeted:
            yield violation(group, "is in no maintenance window")
    for window in deployment.of("ssm/maintenanceWindow"):
        if window.props.get("enabled") is False:
            yield violation(window, "never opens")
    for task in deployment.of("ssm/maintenanceWindowTask"):
        if (str(task.props.get("maxConcurrency")), str(task.props.get("maxErrors"))) != ("1", "0"):
            yield violation(task, "goes on to the next member before this one is well")
