"""Decide where each workload runs."""

from infra.placement.decide import place
from infra.placement.deployable import deployable
from infra.placement.types import Flip, Flow, Option, Placement, Plan, Reason, Runtime

__all__ = ["Flip", "Flow", "Option", "Placement", "Plan", "Reason", "Runtime", "deployable", "place"]
