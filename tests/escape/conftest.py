"""What the files of this level know of each other."""

from __future__ import annotations

import pytest

from tests.escape.mutate import Tried


@pytest.fixture(scope="session")
def held() -> set[Tried]:
    """The cases that have held since this run began, and where."""
    return set()
