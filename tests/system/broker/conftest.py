"""One world for all tests here: it is put up in half a minute. No test may need to be the first."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.bound import BoundWorld, stand_bound


@pytest.fixture(scope="package")
def bound() -> Iterator[BoundWorld]:
    with stand_bound() as world:
        yield world
