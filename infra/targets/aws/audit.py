"""Who did what: CloudTrail, and GuardDuty's eyes, each by switch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.targets.aws.artifacts import PrivateBucket, bucket_name
from infra.targets.aws.config import AuditConfig
from infra.targets.aws.events import event, page
from infra.targets.aws.iam import allow, grant, service_role, trust
from infra.targets.aws.site import Site

TRAIL = "trail"
NAMESPACE = "Hybrid/Audit"
# What nobody does in a day's work, in the language of metric filters, with the reason to page.
UNUSUAL = {
    "root": (
        '{ $.userIdentity.type = "Root" && $.userIdentity.invokedBy NOT EXISTS && $.eventType != "AwsServiceEvent" }',
        "somebody works as the root user of the account",
    ),
    "trail": (
        "{ $.eventName = DeleteTrail || $.eventName = StopLogging || $.eventName = UpdateTrail"
        " || $.eventName = PutEventSelectors }",
        "the audit trail was changed",
    ),
    "keys": (
        '{ $.eventSource = "kms.amazonaws.com" && ($.eventName = ScheduleKeyDeletion || $.eventName = DisableKey) }',
        "an encryption key is about to go",
    ),
}
GUARDDUTY_SEVERITY = 4  # medium and above pages


@dataclass(frozen=True)
class AuditArgs:
    """
    Attributes:
        watched_buckets: ARNs of the buckets of which every write is on record: what machines run comes out of them.
    """

    site: Site
    config: AuditConfig
    log_key_arn: pulumi.Input[str]
    watched_buckets: Sequence[str]
    log_days: int
    alarm_topic_arn: pulumi.Input[str]
    protect: bool


class Audit(pulumi.ComponentResource):
    """A trail of every region, validated, encrypted, kept; and findings that page."""

    def __init__(self, name: str, args: AuditArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Audit", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        if args.config.trail:
            self._trail()
        if args.config.guardduty:
            self._guardduty()
        self.register_outputs({})

    def _trail(self) -> None:
        args, site = self._args, self._args.site
        label = bucket_name(site, TRAIL)
        arn = site.arn("s3", label, region="", account="")
        own_trail = {"StringEquals": {"aws:SourceArn": site.arn("cloudtrail", f"trail/{site.prefix}")}}
        cloudtrail = {"Service": "cloudtrail.amazonaws.com"}
        bucket = PrivateBucket(
            f"{self._name}-trail",
            label,
            args.log_key_arn,
            args.protect,
            [
                grant(cloudtrail, ["s3:GetBucketAcl"], [arn], own_trail),
                grant(cloudtrail, ["s3:PutObject"], [f"{arn}/AWSLogs/{site.account}/*"], own_trail),
            ],
            expire_days=args.log_days,
            # With a bucket's key CloudTrail would have to read with it as well; and its writes cost nothing.
            bucket_key=False,
            opts=self._child,
        )
        group = aws.cloudwatch.LogGroup(
            f"{self._name}-trail",
            name=f"{site.path}/trail",
            retention_in_days=args.log_days,
            kms_key_id=args.log_key_arn,
            opts=self._child,
        )
        stream = pulumi.Output.concat(group.arn, ":*")
        role = service_role(
            f"{self._name}-trail",
            trust("cloudtrail.amazonaws.com"),
            [allow(["logs:CreateLogStream", "logs:PutLogEvents"], [stream])],
            opts=self._child,
        )
        aws.cloudtrail.Trail(
            f"{self._name}-trail",
            name=site.prefix,
            s3_bucket_name=bucket.name,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_log_file_validation=True,
            kms_key_id=args.log_key_arn,
            cloud_watch_logs_group_arn=stream,
            cloud_watch_logs_role_arn=role.arn,
            advanced_event_selectors=[
                _selector("what is managed", eventCategory=["Management"]),
                _selector(
                    "what machines are fed",
                    **{
                        "eventCategory": ["Data"],
                        "resources.type": ["AWS::S3::Object"],
                        "readOnly": ["false"],
                        "resources.ARN": [f"{arn}/" for arn in args.watched_buckets],
                    },
                ),
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=bucket.ready),
        )
        self._page_on_the_unusual(group)

    def _page_on_the_unusual(self, group: aws.cloudwatch.LogGroup) -> None:
        """From the trail's log, because it hears of every region; events of others do not come here."""
        for what, (pattern, why) in UNUSUAL.items():
            label, metric = f"{self._name}-{what}", f"{self._args.site.prefix}/{what}"
            aws.cloudwatch.LogMetricFilter(
                label,
                name=f"{self._args.site.prefix}-{what}",
                log_group_name=group.name,
                pattern=pattern,
                metric_transformation=aws.cloudwatch.LogMetricFilterMetricTransformationArgs(
                    namespace=NAMESPACE, name=metric, value="1"
                ),
                opts=self._child,
            )
            aws.cloudwatch.MetricAlarm(
                label,
                alarm_description=f"In account {self._args.site.account} {why}",
                namespace=NAMESPACE,
                metric_name=metric,
                statistic="Sum",
                comparison_operator="GreaterThanOrEqualToThreshold",
                threshold=1,
                period=300,
                evaluation_periods=1,
                treat_missing_data="notBreaching",
                alarm_actions=[self._args.alarm_topic_arn],
                opts=self._child,
            )

    def _guardduty(self) -> None:
        detector = aws.guardduty.Detector(
            self._name, enable=True, finding_publishing_frequency="FIFTEEN_MINUTES", opts=self._child
        )
        for feature in ("EKS_AUDIT_LOGS", "EBS_MALWARE_PROTECTION", "S3_DATA_EVENTS"):
            aws.guardduty.DetectorFeature(
                f"{self._name}-{feature}", detector_id=detector.id, name=feature, status="ENABLED", opts=self._child
            )
        page(
            f"{self._name}-findings",
            "GuardDuty found something of medium severity or worse",
            event("aws.guardduty", "GuardDuty Finding", severity=[{"numeric": [">=", GUARDDUTY_SEVERITY]}]),
            self._args.alarm_topic_arn,
            self._child,
        )


def _selector(name: str, **fields: list[str]) -> aws.cloudtrail.TrailAdvancedEventSelectorArgs:
    """Events whose fields have one of these values; ARNs are given by how they begin."""
    field = aws.cloudtrail.TrailAdvancedEventSelectorFieldSelectorArgs
    return aws.cloudtrail.TrailAdvancedEventSelectorArgs(
        name=name,
        field_selectors=[
            field(field=key, **{"starts_withs" if key == "resources.ARN" else "equals": values})
            for key, values in fields.items()
        ],
    )
