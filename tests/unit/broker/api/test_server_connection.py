"""HTTP as the broker hears it: one request at a time, within bounds."""

from __future__ import annotations

import json
import tracemalloc
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.broker.api.routes import Route
from appliance.broker.api.server_connection import MAX_REQUESTS, ServerConnection
from appliance.broker.calls.keeping import Keeping
from tests.unit.broker.api.support import Answer, Broker

WISH = json.dumps({"ttl": 60}).encode()
OPEN = b"POST /v1/session HTTP/1.1\r\nHost: broker.egress.internal\r\nContent-Type: application/json\r\n"
WHOLE = OPEN + b"Content-Length: %d\r\n\r\n" % len(WISH) + WISH


def test_requests_in_single_octets_and_in_one_piece_are_the_same(broker: Broker) -> None:
    client = broker.workload()
    heard = b"".join(client.say(bytes([octet])) for octet in WHOLE)
    assert Answer(heard).status == 201
    assert client.say(WHOLE * 5).count(b"HTTP/1.1 201 ") == 5


def test_a_connection_answers_so_often_and_no_more(broker: Broker) -> None:
    client = broker.workload()
    heard = client.say(b"GET /x HTTP/1.1\r\nHost: broker.egress.internal\r\n\r\n" * (2 * MAX_REQUESTS))
    assert heard.count(b"HTTP/1.1 404 ") == MAX_REQUESTS


def test_a_chunked_body_and_100_continue(broker: Broker) -> None:
    client = broker.workload()
    heard = client.say(OPEN + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    assert heard == b"HTTP/1.1 100 Continue\r\n\r\n"
    heard = client.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(WISH), WISH))
    assert Answer(heard).status == 201
    refused = client.say(OPEN + b"Transfer-Encoding: chunked\r\n\r\n1388\r\n" + b" " * 5000)
    assert Answer(refused).reason == "body-too-large"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "host-repeated"),
        (b"nonsense\r\n\r\n", "request-line-invalid"),
        (OPEN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk-invalid"),
    ],
)
def test_what_is_no_request_ends_the_connection(broker: Broker, octets: bytes, reason: str) -> None:
    client = broker.workload()
    answer = Answer(client.say(octets))
    assert answer.status == 400, reason
    assert b"Connection: close" in answer.head
    assert client.say(WHOLE) == b""


def test_a_body_in_small_pieces_takes_no_more_memory_than_in_one() -> None:
    timing = SimpleNamespace(deadline=0.0)
    connection = ServerConnection(
        timing, "c", Keeping(), "acme", lambda _: Route("POST", "/x", "execute", 1 << 20)
    )
    connection.transport = StringTransport()
    connection.dataReceived(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunks = b"2\r\nxy\r\n" * 5000
    tracemalloc.start()
    for _ in range(10):
        connection.dataReceived(chunks)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 * 100_000


EXECUTE = b"POST /execute HTTP/1.1\r\nHost: broker.egress.internal\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("framing", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_the_bodies_of_a_tenant_take_so_much_memory_and_no_more(broker: Broker, framing: bytes) -> None:
    broker.interface._bodies = Keeping(of_tenant=2 << 20, in_all=3 << 20)
    wire = EXECUTE + framing + b"\r\n\r\n"
    first = broker.workload()
    assert first.say(wire) == broker.workload("e2", "c2").say(wire) == b""
    answer = Answer(broker.workload().say(wire))
    assert (answer.status, answer.reason) == (503, "bodies-too-large")
    assert b"Connection: close" in answer.head
    first.connection.connectionLost(Failure(ConnectionLost()))
    assert broker.workload().say(wire) == b""


def test_a_body_counts_as_long_as_it_is_needed_and_as_it_is_long(broker: Broker) -> None:
    kept = broker.interface._bodies = Keeping(of_tenant=5000, in_all=5000)
    client = broker.workload()
    for _ in range(5):
        chunked = OPEN + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(WISH), WISH)
        assert Answer(client.say(chunked)).status == 201
        assert kept.take("acme", 5000)
        kept.give_back("acme", 5000)
    talk = client.connection._tls.inside
    talk._answering = SimpleNamespace(begin=lambda *_: Deferred())
    client.say(WHOLE)
    assert kept.take("acme", 5000 - len(WISH))
    assert not kept.take("acme", 1)


def test_a_refusal_before_the_body_closes(broker: Broker) -> None:
    answer = Answer(broker.workload().say(OPEN + b"Content-Length: 99999\r\n\r\nx"))
    assert answer.status == 413
    assert b"Connection: close" in answer.head


def test_a_mistake_of_ours_is_500_and_tells_nothing(broker: Broker) -> None:
    client = broker.workload()
    broker.interface._operations.table = {}
    answer = client.ask("POST /v1/session", body={"ttl": 5})
    assert (answer.status, answer.reason) == (500, "internal-error")
