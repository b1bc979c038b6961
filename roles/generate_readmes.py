"""Write each role's README from its meta/argument_specs.yml; with --check only tell which are out of step.

python roles/generate_readmes.py [--check]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parent


def text(description: str | list[str]) -> str:
    """As Markdown: Ansible marks code by C(), options by O(), values by V()."""
    written = " ".join([description] if isinstance(description, str) else description)
    return re.sub(r"\b[COV]\(([^)]*)\)", r"`\1`", written)


def cell(value: Any) -> str:
    return str(value).strip().replace("|", "\\|").replace("\n", " ")


def default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    if "default" not in option:
        return ""
    written = yaml.safe_dump(option["default"], default_flow_style=True, width=1000)
    return f"`{cell(written.removesuffix('...' + chr(10)))}`"


def table(options: dict[str, Any]) -> list[str]:
    lines = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, option in options.items():
        choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
        kind = f"{option['type']} of {option['elements']}" if "elements" in option else option["type"]
        lines.append(f"| `{name}` | {kind} | {default(option)} | {cell(text(option['description']))}{choices} |")
    return lines


def readme(role: Path) -> str:
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    lines = [
        "<!-- Written by roles/generate_readmes.py from meta/argument_specs.yml. -->",
        f"# hybrid.platform.{role.name}",
        "",
    ]
    seen: list[dict[str, Any]] = []
    for name, entry in entries.items():
        if name != "main":
            lines += [f"## Entry point `{name}`", ""]
        lines += [f"{text(entry['short_description'])}.", ""]
        if "description" in entry:
            lines += [f"{text(entry['description'])}", ""]
        options = entry.get("options", {})
        if options in seen:
            lines += ["It has the same variables.", ""]
        elif options:
            lines += [*table(options), ""]
            seen.append(options)
        if name == "main":
            required = [f"        {option}: …" for option, what in options.items() if what.get("required")]
            # By name, for the role that nobody wants on all of their machines.
            play = ["- hosts: image" if role.name == "golden_image" else "- hosts: all", "  become: true"]
            if role.name.startswith("cluster_"):
                play = ["- hosts: localhost"]
            example = [*play, "  roles:", f"    - role: hybrid.platform.{role.name}"]
            lines += ["```yaml", *example, *(["      vars:", *required] if required else []), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def main(check: bool) -> int:
    out_of_step = []
    for spec in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = spec.parents[1]
        file, wanted = role / "README.md", readme(role)
        if file.exists() and file.read_text() == wanted:
            continue
        out_of_step.append(str(file.relative_to(ROLES.parent)))
        if not check:
            file.write_text(wanted)
    if out_of_step:
        print(("out of step: " if check else "written: ") + ", ".join(out_of_step))
    return int(check and bool(out_of_step))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
