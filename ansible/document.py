#!/usr/bin/env python3
"""The tables of README.md, made from the argument specifications of the roles.

`python ansible/document.py` writes them anew between their marks; `--check` says whether they are as made.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

HERE = Path(__file__).resolve().parent
README = HERE / "README.md"
ROLES = ("host_baseline", "docker_engine", "appliance", "tenants", "broker", "verify")
"""In the order of site.yml."""
MARKS = re.compile(r"(<!-- variables of (\w+) -->\n).*?(<!-- end of \2 -->\n)", re.DOTALL)


def specification(role: str) -> dict[str, Any]:
    """The role's specification by entry point, as the file has it."""
    file = HERE / "roles" / role / "meta" / "argument_specs.yml"
    loaded: dict[str, Any] = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    found: dict[str, Any] = loaded["argument_specs"]
    return found


def table(options: dict[str, Any], of: str = "") -> list[str]:
    """Rows of Markdown, one for each variable, those of a dictionary below it."""
    rows = []
    for name, option in options.items():
        rows.append(
            f"| `{of}{name}` | {_type(option)} | {_default(option)} | {_text(option['description'])} |"
        )
        rows += table(option.get("options", {}), f"{of}{name}[].")
    return rows


def _type(option: dict[str, Any]) -> str:
    kind = option.get("type", "str")
    if "elements" in option:
        kind = f"{kind} of {option['elements']}"
    choices = ", ".join(f"`{choice}`" for choice in option.get("choices", ()))
    return f"{kind}: {choices}" if choices else kind


def _default(option: dict[str, Any]) -> str:
    if option.get("required"):
        return "**required**"
    if "default" not in option:
        return "left out"
    default = option["default"]
    return f"`{default if isinstance(default, str) and default else json.dumps(default)}`"


def _text(description: str | list[str]) -> str:
    text = " ".join(description) if isinstance(description, list) else description
    return re.sub(r"\b[CIV]\((.*?)\)", r"`\1`", " ".join(text.split())).replace("|", "\\|")


def documented(text: str) -> str:
    """README.md with every table as it is to be."""

    def section(match: re.Match[str]) -> str:
        main = specification(match[2])["main"]
        lines = ["", *_paragraphs(main), "| variable | type | default | what |", "|---|---|---|---|"]
        return match[1] + "\n".join([*lines, *table(main["options"]), "", ""]) + match[3]

    return MARKS.sub(section, text)


def _paragraphs(main: dict[str, Any]) -> list[str]:
    description = main.get("description", main["short_description"])
    parts = description if isinstance(description, list) else [description]
    return [line for part in parts for line in (_text(part), "")]


def main() -> int:
    """0: written, or as made; 1: README.md is another."""
    text = README.read_text(encoding="utf-8")
    made = documented(text)
    if "--check" in sys.argv[1:]:
        if made != text:
            sys.stderr.write("README.md is not as made; run: python ansible/document.py\n")
        return int(made != text)
    README.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
