"""Tasks of the collection by their names, and its expressions with values of a test."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import Environment, StrictUndefined
from jinja2.nativetypes import NativeEnvironment
from ruamel.yaml import YAML

COLLECTION = Path(__file__).parents[3] / "ansible"


def read(path: str | Path) -> Any:
    """The YAML document at `path` below the collection."""
    return YAML(typ="safe").load((COLLECTION / path).read_text(encoding="utf-8"))


def flat(tasks: list[Any]) -> Iterator[dict[str, Any]]:
    """Blocks and plays, and what is in them, in the order in which they run when none fails."""
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks"):
            yield from flat(task.get(part) or [])


def named(path: str, words: str) -> dict[str, Any]:
    """The one task of `path` with `words` in its name."""
    (found,) = [task for task in flat(read(path)) if words in task["name"]]
    return found


def evaluated(expression: str | list[str], **values: Any) -> Any:
    """What a condition (of a list: all of them) or a template is with `values`. What is not given is undefined."""
    if isinstance(expression, list):
        return all(evaluated(each, **values) for each in expression)
    text = expression if "{{" in expression else f"{{{{ {expression} }}}}"
    found = _environment().from_string(text.strip()).render(values)
    return list(found) if isinstance(found, Iterator) else found


def _environment() -> Environment:
    """As Ansible's: native types, and those of its filters that the expressions use."""
    made = NativeEnvironment(undefined=StrictUndefined)
    made.filters.update(
        bool=bool,
        basename=lambda path: PurePosixPath(path).name,
        b64decode=lambda text: b64decode(text).decode(),
        split=lambda text, at: text.split(at),
        combine=lambda one, other: {**one, **other},
        dict2items=lambda rows: [{"key": key, "value": value} for key, value in rows.items()],
    )
    made.tests["match"] = lambda text, pattern: re.match(pattern, text) is not None
    return made
