"""Linters and types, as `make lint` has them: beside the tests that wait for containers they cost no time."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TARGET = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
COMMANDS = re.findall(r"\$\(PYTHON\) -m (.+)", TARGET[1]) if TARGET else []
NO_CACHE = {"RUFF_NO_CACHE": "true", "MYPY_CACHE_DIR": os.devnull}
"""A run as root leaves nothing in the checkout that nobody else could write."""


def test_there_are_linters_and_types() -> None:
    assert [command.split()[0] for command in COMMANDS] == ["ruff", "ruff", "mypy"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_tree_passes(command: str) -> None:
    words = [sys.executable, "-m", *command.split()]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **NO_CACHE}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
