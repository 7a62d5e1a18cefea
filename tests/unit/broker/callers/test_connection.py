"""The callers' socket: one route, one request at a time, so many connections, each for so long."""

from __future__ import annotations

import pytest

from appliance.broker.api.routes import ROUTES
from appliance.broker.api.server_connection import IDLE_SECONDS, REQUEST_SECONDS
from appliance.broker.calls.keeping import Keeping
from appliance.broker.calls.peers import PeerLimits, Peers
from tests.unit.broker.api.support import Answer
from tests.unit.broker.callers.support import Host

HEAD = "Host: broker.egress.internal\r\nContent-Type: application/json\r\n"


def test_000_39_002_07_nothing_but_execute_is_answered(host: Host) -> None:
    key = host.key()
    for route in ROUTES:
        answer = host.process().by(key, line=f"{route.method} {route.path} HTTP/1.1")
        assert (answer.octets == b"") == (route.path == "/execute"), route
        if route.path != "/execute":
            assert (answer.status, answer.reason) == (404, "not-found")
    assert len(host.neighbours.upstreams) == 1


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("GET /execute HTTP/1.1\r\nHost: broker.egress.internal\r\n\r\n", "method-not-allowed"),
        (f"POST /execute?x=1 HTTP/1.1\r\n{HEAD}Content-Length: 0\r\n\r\n", "not-found"),
        ("POST /execute HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "not-the-broker"),
        ("POST /execute HTTP/1.1\r\nHost: broker.egress.internal:443\r\n\r\n", "not-the-broker"),
        ("POST http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "target-form"),
        ("CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", "target-form"),
        (f"POST /execute HTTP/1.1\r\n{HEAD}X-Forwarded-For: 1.2.3.4\r\nContent-Length: 2\r\n\r\n{{}}", "field-not-allowed"),
        (f"POST /execute HTTP/1.1\r\n{HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}", "field-repeated"),
        ("POST /execute HTTP/1.0\r\nHost: broker.egress.internal\r\n\r\n", "target-form"),
    ],
)  # fmt: skip
def test_000_26_what_is_no_strict_request_for_it_is_refused(host: Host, head: str, reason: str) -> None:
    answer = Answer(host.process().say(head.encode()))
    assert answer.status in range(400, 500)
    assert answer.reason == reason
    assert not host.neighbours.upstreams


def test_a_request_in_single_octets_is_the_same(host: Host) -> None:
    process, body = host.process(), b"{}"
    wire = f"POST /execute HTTP/1.1\r\n{HEAD}Content-Length: 2\r\n\r\n".encode() + body
    heard = b"".join(process.say(bytes([octet])) for octet in wire)
    assert Answer(heard).reason == "unauthenticated"


def test_one_uid_has_so_many_connections_and_so_has_the_host(host: Host) -> None:
    host.interface.connections.peers = Peers(PeerLimits(of_process=2, in_all=3))
    first = host.process(7)
    assert not first.wire.aborted
    assert not host.process(7).wire.aborted
    assert host.process(7).wire.aborted
    assert not host.process(8).wire.aborted
    assert host.process(9).wire.aborted
    first.connection.connectionLost()
    assert not host.process(9).wire.aborted


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_bodies_of_nobodies_take_so_much_memory_and_no_more(host: Host, framing: str) -> None:
    host.interface.connections.bodies = Keeping(of_tenant=2 << 20, in_all=3 << 20)
    wire = f"POST /execute HTTP/1.1\r\n{HEAD}{framing}\r\n\r\n".encode()
    first = host.process(7)
    assert first.say(wire) == host.process(7).say(wire) == b""
    refused = host.process(7)
    answer = Answer(refused.say(wire))
    assert (answer.status, answer.reason) == (503, "bodies-too-large")
    assert refused.wire.disconnecting
    assert host.process(8).say(wire) == b""
    assert Answer(host.process(9).say(wire)).status == 503
    first.connection.connectionLost()
    assert host.process(7).say(wire) == b""


def test_a_body_that_was_answered_takes_no_memory(host: Host) -> None:
    host.interface.connections.bodies = Keeping(of_tenant=400, in_all=400)
    process, key = host.process(), host.key()
    for _ in range(5):
        process.by(key)
        assert process.answered().status == 200
        assert process.execute().status == 401


def test_silence_and_idleness_end_it(host: Host) -> None:
    silent, idle = host.process(), host.process()
    idle.execute()
    host.clock.pump([1.0] * int(REQUEST_SECONDS + 2))
    assert silent.wire.aborted
    assert not idle.wire.aborted
    host.clock.pump([1.0] * int(IDLE_SECONDS))
    assert idle.wire.aborted


def test_who_goes_has_abandoned_the_call_and_the_end_of_the_process_ends_all(host: Host) -> None:
    process, other = host.process(), host.process()
    key = host.key()
    process.by(key)
    other.by(key)
    process.connection.connectionLost()
    assert host.audit.records[-1].reason == "client-closed"
    assert host.neighbours.held[0].closed
    host.interface.stop()
    assert other.wire.aborted
