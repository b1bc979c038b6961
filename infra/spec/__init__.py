"""Read and validate platform.yaml."""

from infra.spec.loader import SpecError, load_spec
from infra.spec.models import (
    DEFAULT_OS,
    Checklist,
    Compliance,
    DeployFrequency,
    Isolation,
    Level,
    Maturity,
    Resources,
    Spec,
    Workload,
)

__all__ = [
    "DEFAULT_OS",
    "Checklist",
    "Compliance",
    "DeployFrequency",
    "Isolation",
    "Level",
    "Maturity",
    "Resources",
    "Spec",
    "SpecError",
    "Workload",
    "load_spec",
]
