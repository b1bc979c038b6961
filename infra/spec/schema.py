"""The JSON Schema of platform.yaml, for editors."""

from __future__ import annotations

import json
from pathlib import Path

from infra.spec.models import Spec

SCHEMA = Path("docs/platform.schema.json")


def schema_text() -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Written by `python -m infra.spec --write-schema` from infra/spec; change that, not this file.",
        **Spec.model_json_schema(),
        "title": "platform.yaml",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
