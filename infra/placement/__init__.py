"""Decide where each workload runs."""

from infra.placement.decide import place
from infra.placement.types import Flip, Flow, Option, Placement, Plan, Reason, Runtime

__all__ = ["Flip", "Flow", "Option", "Placement", "Plan", "Reason", "Runtime", "place"]
