"""One engine for all tests of this directory: it takes half a minute to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from own_engine import OwnEngine


@pytest.fixture(scope="session")
def started_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    own = OwnEngine(tmp_path_factory.mktemp("engine"))  # pytest keeps the last three, for the logs
    try:
        own.start()
        own.create_network()
        yield own
    finally:
        own.stop()


@pytest.fixture
def engine(started_engine: OwnEngine) -> Iterator[OwnEngine]:
    """The engine without containers; logs are in its directory when a test fails."""
    yield started_engine
    containers = started_engine.docker("ps", "-aq").stdout.split()
    if containers:
        started_engine.docker("rm", "-f", *containers)
