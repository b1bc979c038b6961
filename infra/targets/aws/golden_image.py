"""The golden image: what a root is made from now, and the pipeline that builds the next candidate."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from infra.spec.models import OsRelease
from infra.targets.aws.config import ImageConfig
from infra.targets.aws.vm_tier import RootImage

DEBIAN_ACCOUNT = "136693071363"


def debian_image(name: str, opts: pulumi.InvokeOutputOptions) -> pulumi.Output[str]:
    """The id of one official Debian AMI in this region. Its full name is the pin: it means one image for ever."""
    return aws.ec2.get_ami_output(
        owners=[DEBIAN_ACCOUNT],
        most_recent=False,
        filters=[
            aws.ec2.GetAmiFilterArgs(name="name", values=[name]),
            aws.ec2.GetAmiFilterArgs(name="architecture", values=["x86_64"]),
        ],
        opts=opts,
    ).id


def root_images(pins: Mapping[OsRelease, ImageConfig], opts: pulumi.InvokeOutputOptions) -> dict[OsRelease, RootImage]:
    """The promoted golden image of each OS release; plain Debian until there is one."""
    return {
        os: RootImage(pin.golden, pin.golden, golden=True)
        if pin.golden
        else RootImage(debian_image(pin.debian, opts), pin.debian, golden=False)
        for os, pin in pins.items()
    }
