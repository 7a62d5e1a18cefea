"""Gateway processes for the tests of this directory: one shared, or one with settings of its own."""

from __future__ import annotations

import threading

import pytest
from loopback import Gateway


@pytest.fixture(scope="session")
def _shared(tmp_path_factory):
    running = Gateway(tmp_path_factory.mktemp("gateway"))
    yield running
    running.close()


@pytest.fixture
def gateway(_shared):
    """The gateway with default settings, as if nothing had been asked of it yet."""
    _shared.as_new()
    return _shared


@pytest.fixture
def start(tmp_path):
    """Gateways with settings of their own."""
    running = []

    def started(**config):
        running.append(Gateway(tmp_path, **config))
        return running[-1]

    yield started
    for gateway in running:
        gateway.close()


@pytest.fixture(autouse=True)
def no_thread_complains(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
