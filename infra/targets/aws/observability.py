"""What pages people, what is kept of logs, and what it may cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.targets.aws.config import ObservabilityConfig
from infra.targets.aws.iam import deny_plain_http, document, grant
from infra.targets.aws.keys import paging_services
from infra.targets.aws.site import Site

# Log groups by purpose; members may write to the first two.
SESSIONS, COMMANDS, BUILDS = "sessions", "commands", "builds"


@dataclass(frozen=True)
class ObservabilityArgs:
    site: Site
    config: ObservabilityConfig
    log_key: pulumi.Input[str]


class Observability(pulumi.ComponentResource):
    """The alarm topic, the platform's log groups, Session Manager's preferences and the budget.

    Attributes:
        topic_arn: where every alarm goes.
        log_groups: by purpose.
    """

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Observability", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        topic = aws.sns.Topic(
            f"{name}-alarms", name=f"{args.site.prefix}-alarms", kms_master_key_id=args.log_key, opts=self._child
        )
        self.topic_arn = topic.arn
        aws.sns.TopicPolicy(
            f"{name}-alarms",
            arn=topic.arn,
            policy=document(deny_plain_http(["sns:Publish"], [topic.arn]), *publishers(args.site, topic.arn)),
            opts=self._child,
        )
        aws.sns.TopicSubscription(
            f"{name}-alarms", topic=topic.arn, protocol="email", endpoint=args.config.alarm_email, opts=self._child
        )
        self.log_groups = {purpose: self._log_group(purpose) for purpose in (SESSIONS, COMMANDS, BUILDS)}
        aws.ssm.Document(
            f"{name}-sessions",
            name=f"{args.site.prefix}-session",
            document_type="Session",
            document_format="JSON",
            content=self.log_groups[SESSIONS].name.apply(session_preferences),
            opts=self._child,
        )
        self._budget()
        self.register_outputs({"topic_arn": self.topic_arn})

    def _log_group(self, purpose: str) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            f"{self._name}-{purpose}",
            name=log_group_name(self._args.site, purpose),
            retention_in_days=self._args.config.log_days,
            kms_key_id=self._args.log_key,
            opts=self._child,
        )

    def _budget(self) -> None:
        """Of the whole account: a bill does not know what was meant to be ours."""
        aws.budgets.Budget(
            self._name,
            name=self._args.site.prefix,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=str(self._args.config.monthly_budget_usd),
            limit_unit="USD",
            notifications=[
                aws.budgets.BudgetNotificationArgs(
                    comparison_operator="GREATER_THAN",
                    threshold=threshold,
                    threshold_type="PERCENTAGE",
                    notification_type=kind,
                    subscriber_sns_topic_arns=[self.topic_arn],
                )
                for kind, threshold in (("ACTUAL", 80.0), ("FORECASTED", 100.0))
            ],
            opts=self._child,
        )


def log_group_name(site: Site, purpose: str) -> str:
    return f"{site.path}/{purpose}"


def publishers(site: Site, topic_arn: pulumi.Input[str]) -> list[dict[str, Any]]:
    """The services that page."""
    return [
        grant({"Service": service}, ["sns:Publish"], [topic_arn], conditions)
        for service, conditions in paging_services(site).items()
    ]


def session_preferences(log_group: str) -> str:
    """Every session is logged, to the line; one that idles ends."""
    inputs: dict[str, Any] = {
        "cloudWatchLogGroupName": log_group,
        "cloudWatchEncryptionEnabled": True,
        "cloudWatchStreamingEnabled": True,
        "idleSessionTimeout": "20",
        "maxSessionDuration": "480",
        "runAsEnabled": False,
        "s3BucketName": "",
        "s3EncryptionEnabled": True,
    }
    return json.dumps(
        {
            "schemaVersion": "1.0",
            "description": "Logged shell sessions",
            "sessionType": "Standard_Stream",
            "inputs": inputs,
        },
        sort_keys=True,
    )
