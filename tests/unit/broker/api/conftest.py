"""A broker's interface over either database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.broker.api.support import Broker


@pytest.fixture
def broker(database_url: str) -> Iterator[Broker]:
    made = Broker(database_url)
    yield made
    made.close()
