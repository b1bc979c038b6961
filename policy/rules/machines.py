"""How machines are launched, and from what."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

from policy.resources import UNKNOWN, Deployment, Resource, Violation, rule, violation

REQUIRED_TAGS = ("hybrid:platform", "hybrid:stack", "hybrid:owner")
SECRETS = re.compile(
    r"BEGIN [A-Z ]*PRIVATE KEY|A(KIA|SIA)[0-9A-Z]{16}|aws_secret_access_key"
    r"|(?i:(password|passwd|secret|token|api_?key)=['\"]?[\w-]{6,})"
)


@rule
def metadata_needs_a_session(deployment: Deployment) -> Iterator[Violation]:
    """IMDSv2 only and one hop: neither a request forged through a service nor a container gets the machine's role."""
    for resource in deployment.of("ec2/launchTemplate", "ec2/instance"):
        yield from _metadata(resource, resource.props.get("metadataOptions"))
    for resource in deployment.of("imagebuilder/infrastructureConfiguration"):
        yield from _metadata(resource, resource.props.get("instanceMetadataOptions"))
    for group in deployment.of("eks/nodeGroup"):
        if not group.props.get("launchTemplate"):
            yield violation(group, "has no launch template, so that pods on its nodes get the nodes' role")


def _metadata(resource: Resource, options: Any) -> Iterator[Violation]:
    options = options or {}
    if options.get("httpTokens") != "required":
        yield violation(resource, "answers metadata requests without a session token")
    if options.get("httpPutResponseHopLimit") != 1:
        yield violation(resource, "answers metadata requests from behind another hop")


@rule
def images_are_pinned(deployment: Deployment) -> Iterator[Violation]:
    """Everything that runs is named exactly: an AMI id, a node release, an add-on version, a digest. What is called
    latest changes without a review."""
    for template in deployment.of("ec2/launchTemplate", "ec2/instance"):
        image = template.props.get("imageId") or template.props.get("ami")
        if image and image != UNKNOWN and not str(image).startswith("ami-"):
            yield violation(template, f"starts from {image}, which is no AMI id")
    for recipe in deployment.of("imagebuilder/imageRecipe"):
        parent = str(recipe.props.get("parentImage"))
        if parent != UNKNOWN and not parent.startswith("ami-"):
            yield violation(recipe, f"builds on {parent}, which is no AMI id")
    for cluster in deployment.of("eks/cluster"):
        if not cluster.props.get("version"):
            yield violation(cluster, "takes the newest Kubernetes of the day")
    for group in deployment.of("eks/nodeGroup"):
        if not group.props.get("releaseVersion"):
            yield violation(group, "takes the newest node image of the day")
    for addon in deployment.of("eks/addon"):
        if not addon.props.get("addonVersion"):
            yield violation(addon, "takes the newest add-on of the day")
    for project in deployment.of("codebuild/project"):
        image = str(project.props["environment"].get("image"))
        if UNKNOWN not in image and not re.search(r"@sha256:[0-9a-f]{64}$|^aws/codebuild/[a-z0-9_-]+:[0-9.]+$", image):
            yield violation(project, f"runs {image}, which is no digest")


@rule
def repositories_are_immutable(deployment: Deployment) -> Iterator[Violation]:
    """A tag of the registry means one image for ever, and every image is scanned when it arrives."""
    for repository in deployment.of("ecr/repository"):
        if repository.props.get("imageTagMutability") != "IMMUTABLE":
            yield violation(repository, "lets a tag be moved to another image")
        if not (repository.props.get("imageScanningConfiguration") or {}).get("scanOnPush"):
            yield violation(repository, "is not scanned")


@rule
def user_data_holds_no_secret(deployment: Deployment) -> Iterator[Violation]:
    """User data is kept in clear, and everybody who may describe a machine reads it."""
    for template in deployment.of("ec2/launchTemplate", "ec2/instance", "imagebuilder/imageRecipe"):
        for key in ("userData", "userDataBase64"):
            found = SECRETS.search(_in_clear(str(template.props.get(key) or "")))
            if found:
                yield violation(template, f"has what looks like a secret in its user data ({found[0][:12]}…)")


def _in_clear(data: str) -> str:
    """What EC2 makes of user data: templates give it in base64, instances may give it plain."""
    try:
        return base64.b64decode(data, validate=True).decode(errors="replace")
    except ValueError:
        return data


@rule
def everything_is_tagged(deployment: Deployment) -> Iterator[Violation]:
    """Who owns a thing is on it: by the provider's default tags, and explicitly where those do not reach."""
    if not deployment.aws():
        return
    providers = deployment.of("pulumi:providers:aws")
    for provider in providers:
        # The engine shows a provider's nested properties as JSON.
        missing = [tag for tag in REQUIRED_TAGS if tag not in str(provider.props.get("defaultTags"))]
        if missing:
            yield violation(provider, f"puts no {', '.join(missing)} on what it makes")
        if not provider.props.get("allowedAccountIds"):
            yield violation(provider, "would deploy to whatever account the credentials are of")
    for template in deployment.of("ec2/launchTemplate"):
        specifications = template.props.get("tagSpecifications") or ()
        for kind in ("instance", "volume"):
            tags = next((s.get("tags") or {} for s in specifications if s.get("resourceType") == kind), {})
            missing = [tag for tag in REQUIRED_TAGS if tag not in tags]
            if missing:
                yield violation(template, f"launches a {kind} without {', '.join(missing)}")
    for group in deployment.of("autoscaling/group"):
        tags = {tag["key"] for tag in group.props.get("tags") or () if tag.get("propagateAtLaunch")}
        missing = [tag for tag in REQUIRED_TAGS if tag not in tags]
        if missing:
            yield violation(group, f"launches machines without {', '.join(missing)}")


@rule
def the_provider_is_named(deployment: Deployment) -> Iterator[Violation]:
    """Every resource has the one explicit provider: the default one knows neither tags nor account."""
    for resource in deployment.aws():
        if "default_" in resource.provider or not resource.provider:
            yield violation(resource, "has no explicit provider")


@rule
def nodes_are_repaired_and_updated_gently(deployment: Deployment) -> Iterator[Violation]:
    """Node groups replace broken nodes by themselves, and take one node at a time out of service."""
    for group in deployment.of("eks/nodeGroup"):
        if not (group.props.get("nodeRepairConfig") or {}).get("enabled"):
            yield violation(group, "keeps broken nodes")
        update = group.props.get("updateConfig") or {}
        if update.get("maxUnavailable") != 1:
            yield violation(group, "may lose more than one node at a time to an update")
