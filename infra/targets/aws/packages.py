"""The package snapshot: where machines without a route to the internet get Debian's packages from."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.targets.aws.artifacts import PACKAGES, PrivateBucket, bucket_name
from infra.targets.aws.iam import grant
from infra.targets.aws.site import Site

CODENAMES = {"debian-12": "bookworm", "debian-13": "trixie"}
PYTHONS = {"debian-12": "3.11", "debian-13": "3.13"}
SSM_AGENT = "3.3.3050.0"
GVISOR = "20260810"


@dataclass(frozen=True)
class PackagesArgs:
    site: Site
    s3_endpoint_id: pulumi.Input[str]


class Packages(pulumi.ComponentResource):
    """A bucket that apt reads over HTTPS without credentials, from inside our VPC only.

    apt checks Debian's own signatures, so the bucket need not be trusted; it holds what Debian publishes, nothing
    secret, and is encrypted with S3's own keys because a reader without identity could not use ours.

    Attributes:
        url: what apt is given.
    """

    def __init__(self, name: str, args: PackagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Packages", name, None, opts)
        label = bucket_name(args.site, PACKAGES)
        # A condition on an endpoint makes a policy private in the eyes of S3, so the public access block stays shut.
        inside_only = {"StringEquals": {"aws:SourceVpce": args.s3_endpoint_id}}
        objects = args.site.arn("s3", f"{label}/*", region="", account="")
        self.bucket = PrivateBucket(
            name,
            label,
            None,
            protect=False,  # everything in it can be fetched again
            statements=[grant("*", ["s3:GetObject"], [objects], inside_only)],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.url = f"https://{label}.s3.{args.site.region}.amazonaws.com"
        self.register_outputs({"url": self.url})
