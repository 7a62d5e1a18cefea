"""What a fuzz target is: a module of `tests.fuzz.targets` with `one(data)`, which returns or fails, and `SEEDS`.

`TOKENS`, if there, are octets worth trying. `one` may take any bytes; its first octet usually chooses a variant.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from tests.fuzz import targets


@dataclass(frozen=True)
class Target:
    """`one` raises on a finding and on nothing else."""

    name: str
    one: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...]


def names() -> list[str]:
    """All targets."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def load(name: str) -> Target:
    """Import a target."""
    module = importlib.import_module(f"tests.fuzz.targets.{name}")
    return Target(name, module.one, module.SEEDS, getattr(module, "TOKENS", ()))
