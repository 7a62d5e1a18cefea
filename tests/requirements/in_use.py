"""Which modules the appliance's processes load: what no process loads is a part, and not a behaviour of the product."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("appliance", "netns", "squid")
STARTED = ("appliance.supervise", "netns.launch")
"""What is started beside the modules called `main`."""


@cache
def modules() -> Mapping[str, Path]:
    """Dotted name → file, for every module of the distribution."""
    found = {}
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def loaded(source: str) -> frozenset[str]:
    """Dotted names that a module with this source loads; not those that it needs for its types alone."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)
    return frozenset(names)


@cache
def in_use() -> frozenset[str]:
    """Every module that some process of the appliance loads."""
    known = modules()
    seen: set[str] = set()
    waiting = [name for name in known if name.endswith(".main") or name in STARTED]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [one for one in loaded(known[name].read_text(encoding="utf-8")) if one in known]
    return frozenset(seen)


def module_of(test: str) -> str | None:
    """The module that a unit test is about, by the place of its file; None where that is not one module."""
    path = Path(test.partition("::")[0])
    if path.parts[:2] != ("tests", "unit"):
        return None
    folders, words = path.parts[2:-1], path.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:length]) for length in range(len(words), 0, -1)]
    # Of two files of the same name one has its package's in front: `test_broker_acceptor.py`.
    if folders and words[0] == folders[-1]:
        names += ["_".join(words[1:length]) for length in range(len(words), 1, -1)]
    for name in names:
        dotted = ".".join((*folders, name))
        for candidate in (f"appliance.{dotted}", dotted):
            if candidate in modules():
                return candidate
    return None


def unused(tests: Iterable[str]) -> frozenset[str]:
    """Modules that these tests are about and that no process loads."""
    about = {module for test in tests if (module := module_of(test)) is not None}
    return frozenset(about - in_use())
