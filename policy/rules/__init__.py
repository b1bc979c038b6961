"""The rules. Each module registers its own; RULES has all of them."""

from policy.resources import RULES
from policy.rules import cost, encryption, exposure, iam, machines, operations, placement, unseen

__all__ = ["RULES", "cost", "encryption", "exposure", "iam", "machines", "operations", "placement", "unseen"]
