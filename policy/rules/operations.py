"""What makes a bad day survivable: backups, logs, alarms, protection."""

from __future__ import annotations

from collections.abc import Iterator

from policy.resources import Deployment, Violation, rule, violation

CONTROL_PLANE_LOGS = {"api", "audit", "authenticator", "controllerManager", "scheduler"}
BACKUP_TAG = "hybrid:backup"


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
