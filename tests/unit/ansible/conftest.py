"""Tests here share `plugin.py`, and a record of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from plugin import load


@pytest.fixture
def record(tmp_path: Path) -> Any:
    return load("module_utils/record.py").Record(str(tmp_path / "record" / "role.json"))
