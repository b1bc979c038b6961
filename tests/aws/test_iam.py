"""Every IAM document against AWS's own list of actions, resources and condition keys (parliament has a copy of it).

What the documents may grant is the policy pack's business (policy/rules/iam.py); this is about documents that grant
nothing, because they name what does not exist or does not go together.
"""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from parliament import analyze_policy_string

from policy.resources import listed
from policy.rules.iam import documents

# Findings that stand, each with its reason.
ACCEPTED = {
    # The pack's own linter says where `*` may stand; in a key's or an endpoint's policy it is the thing itself.
    "RESOURCE_STAR": "",
    # As CloudWatch Logs documents its key policy: DescribeKey has no context, and the comparison is of an ARN.
    "UNKNOWN_CONDITION_FOR_ACTION": "kms:EncryptionContext:aws:logs:arn for action kms:DescribeKey",
    "MISMATCHED_TYPE": "ArnLike",
    # A command goes to machines and is a document; the documents stand in the next statement, without a condition.
    "RESOURCE_MISMATCH": "'ssm:SendCommand', 'required_format': 'arn:*:ssm:*:*:document/*'",
}


def findings(document: dict[str, Any], kind: str) -> list[str]:
    document = copy.deepcopy(document)
    for statement in listed(document["Statement"]):
        if kind == "trust":  # its resource is the role, and is not written
            statement["Resource"] = "*"
    found = analyze_policy_string(json.dumps(document), ignore_private_auditors=True).findings
    return [
        f"{one.issue}: {one.detail}"
        for one in found
        if ACCEPTED.get(one.issue) is None or ACCEPTED[one.issue] not in str(one.detail)
    ]


def test_documents_name_what_exists_and_goes_together(deployed):
    faults = {
        f"{resource.name} ({kind})": wrong
        for resource, kind, key in documents(deployed)
        if (wrong := findings(json.loads(resource.props[key]), kind))
    }
    assert faults == {}


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ({"Action": "ssm:GetParametres", "Resource": "*"}, "UNKNOWN_ACTION"),
        ({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket"}, "RESOURCE_MISMATCH"),
        ({"Action": "s3:GetObject", "Resource": "arn:aws:s3:bucket/*"}, "INVALID_ARN"),
        (
            {
                "Action": "ec2:AttachVolume",
                "Resource": "arn:aws:ec2:eu-central-1:111122223333:volume/*",
                "Condition": {"StringEquals": {"s3:prefix": "x"}},
            },
            "UNKNOWN_CONDITION_FOR_ACTION",
        ),
    ],
)
def test_what_grants_nothing_is_noticed(statement, told):
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    assert told in "\n".join(findings(document, "identity"))
