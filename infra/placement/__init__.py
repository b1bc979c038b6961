"""Decide where each workload runs."""

from infra.placement.decide import place
from infra.placement.types import Flow, Placement, Plan, Reason, Runtime

__all__ = ["Flow", "Placement", "Plan", "Reason", "Runtime", "place"]
