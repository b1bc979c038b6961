"""Where a platform stands: what names, ARNs and tags are made of."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Any

# What every service takes: buckets and repositories have no capitals, and trails no two dashes in a row.
PREFIX = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST_PREFIX = 50  # a backup vault's name


@dataclass(frozen=True)
class Site:
    """One platform in one region of one account."""

    platform: str
    stack: str
    account: str
    region: str
    owner: str

    @property
    def prefix(self) -> str:
        """What every name begins with that is unique in the account."""
        return f"{self.platform}-{self.stack}"

    @property
    def path(self) -> str:
        """What every parameter, secret and log group of the platform lies under."""
        return f"/hybrid/{self.prefix}"

    def arn(self, service: str, resource: str, *, region: str | None = None, account: str | None = None) -> str:
        """`arn:aws:<service>:<this region>:<this account>:<resource>`; an empty string leaves a part out."""
        region = self.region if region is None else region
        account = self.account if account is None else account
        return f"arn:aws:{service}:{region}:{account}:{resource}"

    def managed_policy(self, name: str) -> str:
        """The ARN of a policy that AWS maintains."""
        return self.arn("iam", f"policy/{name}", region="", account="aws")

    @property
    def tags(self) -> dict[str, str]:
        """On everything: through the provider's default tags, and explicitly where those do not reach
        (instances and volumes of launch templates, members of Auto Scaling groups)."""
        return {**self.own, "hybrid:owner": self.owner}

    @property
    def own(self) -> dict[str, str]:
        """The tags that select what is of this platform and no other one of the account."""
        return {"hybrid:platform": self.platform, "hybrid:stack": self.stack}


def shortened(name: str, longest: int) -> str:
    """The name where it fits; else its beginning, and a digest that tells it from others that begin alike."""
    if len(name) <= longest:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: longest - 9].rstrip('-')}-{digest}"


def workload_tags(name: str, workload: str, runtime: str) -> dict[str, Any]:
    """What ties a resource to the decision about its workload; the policy pack holds one against the other."""
    return {"Name": name, "hybrid:workload": workload, "hybrid:runtime": runtime}
