"""Read and validate platform.yaml."""

from infra.spec.answers import Compliance, DeployFrequency, Isolation, Level, Runtime
from infra.spec.errors import Origin, SpecError
from infra.spec.loader import load_spec
from infra.spec.models import DEFAULT_OS, Checklist, Maturity, Resources, Spec, Workload
from infra.spec.rules import OperatorRules, Score, Veto

__all__ = [
    "DEFAULT_OS",
    "Checklist",
    "Compliance",
    "DeployFrequency",
    "Isolation",
    "Level",
    "Maturity",
    "OperatorRules",
    "Origin",
    "Resources",
    "Runtime",
    "Score",
    "Spec",
    "SpecError",
    "Veto",
    "Workload",
    "load_spec",
]
