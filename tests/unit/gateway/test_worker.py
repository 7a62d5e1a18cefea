from __future__ import annotations

from appliance.gateway.connection import Connection
from appliance.gateway.worker import Worker

from .support import CONTAINER, ENDPOINT, Wire, worker


def connected(shared: Worker, peer=(str(CONTAINER), 40000)) -> Connection:
    connection = Connection(shared)
    connection.makeConnection(Wire(peer))
    return connection


def test_identities_differ() -> None:
    shared = worker()
    assert len({shared.next_id(), shared.next_id(), worker().next_id()}) == 3


def test_a_removed_endpoint_takes_its_connections_along() -> None:
    shared = worker()
    connection = connected(shared)
    connection.dataReceived(b"GET / HT")
    shared.endpoint_removed(ENDPOINT)
    assert connection.transport.aborted


def test_draining_waits_for_the_last_connection() -> None:
    shared = worker()
    connection = connected(shared)
    done: list[None] = []
    shared.drain().addCallback(done.append)
    assert connection.transport.disconnecting
    assert done == []
    connection.connectionLost()
    assert done == [None]
    assert shared.connections == 0


def test_draining_an_idle_worker_is_done_at_once() -> None:
    done: list[None] = []
    worker().drain().addCallback(done.append)
    assert done == [None]


def test_when_draining_takes_too_long_all_end() -> None:
    shared = worker()
    connection = connected(shared)
    connection.dataReceived(b"GET / HT")
    shared.drain()
    assert not connection.transport.aborted
    shared.end_all()
    assert connection.transport.aborted
