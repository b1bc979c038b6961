"""Artifacts: the bundle that machines configure themselves from, and the registry of container images."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from infra.placement import Plan, Runtime
from infra.targets.aws.iam import Statement, allow, deny_plain_http, document
from infra.targets.aws.site import Site, shortened, workload_tags

# What a machine, a build or the operator's job needs of this checkout; a change of anything else deploys nothing.
BUNDLED = (
    *("ansible.cfg", "galaxy.yml", "meta", "playbooks", "plugins", "roles", "workloads"),
    *("infra/__init__.py", "infra/targets/local/oci_image.py", "infra/targets/aws/boot/unsealed.yml"),
    "infra/targets/aws/jobs",
)
NOISE = {"__pycache__", ".pytest_cache", ".DS_Store"}
KEEP_IMAGES = 30
ARTIFACTS, PACKAGES = "artifacts", "packages"  # buckets by purpose
BUNDLE, PLAN = "bundle", "plan"  # parameters that say what is up


def bundle(root: Path, parts: Sequence[str] = BUNDLED) -> bytes:
    """A tar of the checkout's parts, the same bytes for the same files: no times, owners or order of the disk."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for file in _files(root, parts):
            info = tarfile.TarInfo(str(file.relative_to(root)))
            info.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            content = file.read_bytes()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(tarred.getvalue(), mtime=0)


def _files(root: Path, parts: Iterable[str]) -> list[Path]:
    found = [path for part in parts for path in ((root / part).rglob("*") if (root / part).is_dir() else [root / part])]
    return sorted(path for path in found if path.is_file() and not NOISE & set(path.parts))


def in_json(content: Any) -> str:
    """For `apply`: the SDK's own `json_dumps` makes an output of each value in the document, thousands an inventory."""
    return json.dumps(content, sort_keys=True)


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class PrivateBucket(pulumi.ComponentResource):
    """A versioned, encrypted bucket that only this account's TLS requests reach.

    Attributes:
        ready: what must exist before anything is written, so that it holds from the first object on: the policy that
            refuses plain HTTP, the key, versions.
    """

    def __init__(
        self,
        name: str,
        bucket: str,
        key_arn: pulumi.Input[str] | None,
        protect: bool,
        statements: Sequence[Statement] = (),
        expire_days: int | None = None,
        bucket_key: bool = True,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`key_arn` None encrypts with the keys of S3: where readers have no identity that a key policy could name.
        `bucket_key` asks for the key once a bucket instead of once an object, in the name of the bucket."""
        super().__init__("hybrid:aws:PrivateBucket", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        made = aws.s3.Bucket(
            name,
            bucket=bucket,
            force_destroy=not protect,
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        self.name, self.arn = made.bucket, made.arn
        versions = aws.s3.BucketVersioning(
            name,
            bucket=made.id,
            versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
            opts=child,
        )
        encryption = aws.s3.BucketServerSideEncryptionConfiguration(
            name,
            bucket=made.id,
            rules=[
                aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
                    bucket_key_enabled=bucket_key and key_arn is not None,
                    apply_server_side_encryption_by_default=(
                        aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                            sse_algorithm="aws:kms" if key_arn is not None else "AES256", kms_master_key_id=key_arn
                        )
                    ),
                )
            ],
            opts=child,
        )
        block = aws.s3.BucketPublicAccessBlock(
            name,
            bucket=made.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=child,
        )
        aws.s3.BucketOwnershipControls(
            name,
            bucket=made.id,
            rule=aws.s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            opts=child,
        )
        aws.s3.BucketLifecycleConfiguration(
            name,
            bucket=made.id,
            rules=[_forget_old_versions(), *([_expire(expire_days)] if expire_days else [])],
            opts=child,
        )
        policy = aws.s3.BucketPolicy(
            name,
            bucket=made.id,
            policy=document(deny_plain_http(["s3:*"], [made.arn, pulumi.Output.concat(made.arn, "/*")]), *statements),
            # AWS refuses the two at once ("conflicting operation").
            opts=pulumi.ResourceOptions(parent=self, depends_on=[block]),
        )
        self.ready: list[pulumi.Resource] = [policy, encryption, versions]
        self.register_outputs({"arn": self.arn})


def _forget_old_versions() -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id="forget-old-versions",
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
            noncurrent_days=90
        ),
        abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
            days_after_initiation=7
        ),
    )


def _expire(days: int) -> aws.s3.BucketLifecycleConfigurationRuleArgs:
    return aws.s3.BucketLifecycleConfigurationRuleArgs(
        id="expire",
        status="Enabled",
        filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
        expiration=aws.s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
    )


@dataclass(frozen=True)
class ArtifactsArgs:
    """
    Attributes:
        root: the checkout that the bundle is made of.
        mirrored: names of third-party images that are copied into the registry.
    """

    site: Site
    plan: Plan
    root: Path
    key_arn: pulumi.Input[str]
    protect: bool
    mirrored: Sequence[str]


class Artifacts(pulumi.ComponentResource):
    """The artifact bucket with the current bundle, and one immutable repository an image.

    Attributes:
        readable: what a role needs to fetch the bundle.
        repositories: by image name.
    """

    def __init__(self, name: str, args: ArtifactsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid:aws:Artifacts", name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self)
        self.bucket = PrivateBucket(
            name, bucket_name(args.site, ARTIFACTS), args.key_arn, args.protect, opts=self._child
        )
        self.repositories = {image: self._repository(image) for image in images_of(args.plan, args.mirrored)}
        self.readable: list[Statement] = [
            self.fetching("bundle/*"),
            allow(["s3:ListBucket"], [bucket_arn(args.site, ARTIFACTS)]),
            allow(
                ["kms:Decrypt"],
                [args.key_arn],
                {"StringEquals": {"kms:ViaService": f"s3.{args.site.region}.amazonaws.com"}},
            ),
        ]
        self.register_outputs({"bucket": self.bucket.name})

    def upload_bundle(self, after: Sequence[pulumi.Resource] = ()) -> tuple[str, list[pulumi.Resource]]:
        """Put the bundle up, once what listens for it (`after`) is there; its digest, and what a machine waits for."""
        content = bundle(self._args.root)
        digest = digest_of(content)
        # An asset is a file that lives as long as the deployment; build/ is ignored by git.
        file = self._args.root / "build" / f"bundle-{digest}.tar.gz"
        file.parent.mkdir(exist_ok=True)
        for former in set(file.parent.glob("bundle-*.tar.gz")) - {file}:
            former.unlink(missing_ok=True)
        file.write_bytes(content)
        uploaded = aws.s3.BucketObjectv2(
            f"{self._name}-bundle",
            bucket=self.bucket.name,
            key=f"bundle/{digest}.tar.gz",
            source=pulumi.FileAsset(str(file)),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self.bucket.ready, *after]),
        )
        current = self._announce(BUNDLE, digest, "The bundle that machines configure themselves from", uploaded)
        return digest, [uploaded, current]

    def upload_plan(self, plan: dict[str, Any], after: Sequence[pulumi.Resource] = ()) -> pulumi.Resource:
        """Put up what the jobs read of the plan, once what listens for it (`after`) is there."""
        uploaded = self.upload_json("cluster", plan, after)
        digest = digest_of(in_json(plan).encode())
        return self._announce(PLAN, digest, "What the jobs were last told of the plan", uploaded)

    def _announce(self, what: str, digest: str, description: str, uploaded: pulumi.Resource) -> aws.ssm.Parameter:
        """Say that it is up: a change of the parameter is the event that jobs start by."""
        return aws.ssm.Parameter(
            f"{self._name}-{what}",
            name=f"{self._args.site.path}/{what}",
            type="String",
            value=digest,
            description=description,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[uploaded]),
        )

    def upload_json(
        self,
        key: str,
        content: dict[str, Any] | pulumi.Output[dict[str, Any]],
        after: Sequence[pulumi.Resource] = (),
    ) -> pulumi.Resource:
        """Put a document up as `<key>.json`."""
        return aws.s3.BucketObjectv2(
            f"{self._name}-{key.replace('/', '-')}",
            bucket=self.bucket.name,
            key=f"{key}.json",
            content=content.apply(in_json) if isinstance(content, pulumi.Output) else in_json(content),
            content_type="application/json",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*self.bucket.ready, *after]),
        )

    def fetching(self, *keys: str) -> Statement:
        """What a role needs to fetch these objects, which may end in `*`."""
        return allow(["s3:GetObject"], [f"{bucket_arn(self._args.site, ARTIFACTS)}/{key}" for key in keys])

    def _repository(self, image: str) -> aws.ecr.Repository:
        site, workload = self._args.site, self._args.plan.spec.workloads.get(image)
        tags = {"Name": f"{site.prefix}-{image}"}
        if workload:
            runtime = self._args.plan.placement(image).runtime.value
            tags = workload_tags(f"{site.prefix}-{image}", image, runtime)
        repository = aws.ecr.Repository(
            f"{self._name}-{image}",
            name=f"{site.prefix}/{image}",
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS", kms_key=self._args.key_arn)
            ],
            force_delete=not self._args.protect,
            tags=tags,
            opts=self._child,
        )
        aws.ecr.LifecyclePolicy(
            f"{self._name}-{image}", repository=repository.name, policy=keep_newest(KEEP_IMAGES), opts=self._child
        )
        return repository


def images_of(plan: Plan, mirrored: Sequence[str]) -> list[str]:
    """Repositories: one a workload that brings an image, and one a mirrored image."""
    own = [name for name, workload in plan.on(Runtime.CONTAINER, Runtime.MICROVM).items() if workload.image]
    return [*own, *mirrored]


def bucket_name(site: Site, purpose: str) -> str:
    """Names of buckets are shared by the whole world; the account and the region make ours our own."""
    return shortened(f"{site.prefix}-{purpose}-{site.account}-{site.region}", 63)


def bucket_arn(site: Site, purpose: str) -> str:
    return site.arn("s3", bucket_name(site, purpose), region="", account="")


def keep_newest(count: int) -> str:
    rule = {
        "rulePriority": 1,
        "description": f"Keep the newest {count}",
        "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count},
        "action": {"type": "expire"},
    }
    return json.dumps({"rules": [rule]}, sort_keys=True)
