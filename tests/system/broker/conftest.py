"""One world for the tests of a module: it is put up in half a minute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.bound import BoundWorld, stand_bound


@pytest.fixture(scope="module")
def bound() -> Iterator[BoundWorld]:
    with stand_bound() as world:
        yield world
