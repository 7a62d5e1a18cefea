"""Loads a module of the collection by its path: no ansible is in the product's environment."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

PLUGINS = Path(__file__).parents[3] / "ansible" / "plugins"


@functools.cache
def load(path: str) -> ModuleType:
    """The module at `path` below ansible/plugins."""
    file = PLUGINS / path
    specification = importlib.util.spec_from_file_location(f"plugin_{file.stem}", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
