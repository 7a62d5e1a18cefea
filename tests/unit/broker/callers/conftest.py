"""A host with callers, over either database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from tests.unit.broker.callers.support import Host


@pytest.fixture
def host(database: Engine) -> Iterator[Host]:
    made = Host(database)
    yield made
    made.interface.stop()
