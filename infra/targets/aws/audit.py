"""Who did what: CloudTrail, and GuardDuty's eyes, each by switch."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from infra.targets.aws.artifacts import PrivateBucket, bucket_name
from infra.targets.aws.config import AuditConfig
from infra.targets.aws.iam import allow, grant, service_role, trust
from infra.targets.aws.observability import page_on_event
from infra.targets.aws.site import Site

TRAIL = "trail"
GUARDDUTY_SEVERITY = 4  # medium and above pages


@dataclass(frozen=True)
class AuditArgs:
    site: Site
    config: AuditConfig
    log_key_arn: pulumi.Input[str]
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
            trust("cloudtrail.amazonaws.com", site.account),
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
            opts=pulumi.ResourceOptions(parent=self, depends_on=bucket.ready),
        )

    def _guardduty(self) -> None:
        detector = aws.guardduty.Detector(
            self._name, enable=True, finding_publishing_frequency="FIFTEEN_MINUTES", opts=self._child
        )
        for feature in ("EKS_AUDIT_LOGS", "EBS_MALWARE_PROTECTION", "S3_DATA_EVENTS"):
            aws.guardduty.DetectorFeature(
                f"{self._name}-{feature}", detector_id=detector.id, name=feature, status="ENABLED", opts=self._child
            )
        page_on_event(
            f"{self._name}-findings",
            "GuardDuty found something of medium severity or worse",
            {
                "source": ["aws.guardduty"],
                "detail-type": ["GuardDuty Finding"],
                "detail": {"severity": [{"numeric": [">=", GUARDDUTY_SEVERITY]}]},
            },
            self._args.alarm_topic_arn,
            self._child,
        )
