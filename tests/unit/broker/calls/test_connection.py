"""What a worker may say on its connection, and what ends it."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import replace

import pytest

from appliance.broker.calls import connection as calls_connection
from appliance.broker.calls.connection import CallConnection, CallConnections
from appliance.broker.calls.peers import PeerLimits
from appliance.handover import MAX_LINE
from tests.unit.broker.calls.support import ATTESTED
from tests.unit.gateway.support import Wire

GET = b"GET /data/1 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
POST = b"POST /data/1 HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 4\r\n\r\n"


class Begun:
    """A call that only remembers."""

    def __init__(self, connection, attestation, head) -> None:
        self.connection, self.attestation, self.head = connection, attestation, head
        self.started = self.done = False
        self.read = b""
        self.ends: list[str] = []
        self.at_once = None

    def start(self) -> None:
        self.started = True
        if Begun.refuses:
            self.connection.transport.write(b"no")
            self.connection.finished(keep=False)

    def body(self, pieces, *, done) -> None:
        self.read += b"".join(pieces)
        self.done = done

    def broken(self, fault) -> None:
        self.ends.append(fault.reason)

    def abandoned(self) -> None:
        self.ends.append("abandoned")

    refuses = False


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr(Begun, "refuses", False)
    calls: list[Begun] = []

    def begin(*found):
        calls.append(Begun(*found))
        return calls[-1]

    connection = CallConnection(0, begin)
    connection.transport = Wire()
    return connection, calls


def test_a_call_in_single_octets_is_the_same_call(made) -> None:
    connection, calls = made
    for octet in ATTESTED.line() + POST + b"body":
        connection.dataReceived(bytes([octet]))
    (call,) = calls
    assert (call.attestation, call.head.method, call.read, call.done) == (ATTESTED, "POST", b"body", True)


def test_one_call_after_the_other(made) -> None:
    connection, calls = made
    connection.dataReceived(ATTESTED.line() + GET)
    connection.finished(keep=True)
    connection.dataReceived(ATTESTED.line() + GET)
    assert len(calls) == 2
    assert not connection.transport.aborted


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n", b"{}\n", b"\n", b"x" * (MAX_LINE + 1),
        ATTESTED.line() + b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        ATTESTED.line() + b"no request at all\r\n\r\n",
        ATTESTED.line() + GET + b"GET",
        ATTESTED.line() + POST + b"body" + b"more",
    ],
)  # fmt: skip
def test_whatever_else_it_says_ends_it(made, data) -> None:
    connection, _ = made
    connection.dataReceived(data)
    assert connection.transport.aborted


def test_nothing_may_come_before_the_answer_is_complete(made) -> None:
    connection, calls = made
    connection.dataReceived(ATTESTED.line() + GET)
    connection.dataReceived(ATTESTED.line())
    assert connection.transport.aborted
    assert len(calls) == 1


def test_a_broken_body_is_the_calls_to_tell(made) -> None:
    connection, calls = made
    head = POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked")
    connection.dataReceived(ATTESTED.line() + head + b"zz\r\n")
    assert calls[0].ends
    assert not connection.transport.aborted


def test_a_refusal_before_the_body_is_not_lost_for_what_still_comes(made, monkeypatch) -> None:
    connection, _ = made
    monkeypatch.setattr(Begun, "refuses", True)
    connection.dataReceived(ATTESTED.line() + POST + b"bo")
    connection.dataReceived(b"dy")
    assert connection.transport.value() == b"no"
    assert connection.transport.disconnecting
    assert not connection.transport.aborted


def test_who_hangs_up_has_abandoned_its_call(made) -> None:
    connection, calls = made
    connection.dataReceived(ATTESTED.line() + GET)
    connection.connectionLost()
    assert calls[0].ends == ["abandoned"]


class Peer:
    """A transport whose peer has a uid."""

    def __init__(self, uid: int) -> None:
        self.uid, self.aborted = uid, False

    def getHandle(self):
        return self

    def getsockopt(self, level, name, size):
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", os.getpid(), self.uid, self.uid)

    def abortConnection(self) -> None:
        self.aborted = True


@pytest.mark.parametrize(("uid", "aborted"), [(64101, False), (64102, True), (0, True)])
def test_000_06_only_the_gateways_uid_hands_calls_over(uid, aborted) -> None:
    connection = CallConnections(64101, Begun).buildProtocol(None)
    peer = Peer(uid)
    connection.makeConnection(peer)
    assert peer.aborted is aborted


def test_a_call_that_stopped_the_reading_leaves_it_on_for_the_next(made) -> None:
    connection, _ = made
    connection.dataReceived(ATTESTED.line() + POST + b"data")
    connection.transport.pauseProducing()
    connection.finished(keep=True)
    assert connection.transport.producerState == "producing"


class Worker(Wire):
    """A transport whose peer is a gateway worker."""

    def getHandle(self):
        return Peer(64101)


def worker_of(factory: CallConnections):
    connection, wire = factory.buildProtocol(None), Worker()
    connection.makeConnection(wire)
    return connection, wire


def test_a_process_has_a_bounded_number_of_connections(monkeypatch) -> None:
    monkeypatch.setattr(calls_connection, "CONNECTIONS", PeerLimits(of_process=2, in_all=2))
    factory = CallConnections(64101, Begun)
    first, *_ = made = [worker_of(factory) for _ in range(3)]
    assert [wire.aborted for _, wire in made] == [False, False, True]
    first[0].connectionLost()
    assert not worker_of(factory)[1].aborted


def test_004_11_calls_of_a_container_that_left_end_and_others_go_on() -> None:
    begun: list[Begun] = []

    def begin(*found):
        begun.append(Begun(*found))
        return begun[-1]

    factory = CallConnections(64101, begin)
    wires = []
    for endpoint in ("gone", "stays"):
        connection, wire = worker_of(factory)
        connection.dataReceived(replace(ATTESTED, endpoint=endpoint).line() + GET)
        wires.append(wire)
    resting, _ = worker_of(factory)
    resting.dataReceived(replace(ATTESTED, endpoint="gone").line() + GET)
    resting.finished(keep=True)
    factory.departed("gone")
    assert [call.ends for call in begun] == [["abandoned"], [], []]
    assert [wire.aborted for wire in wires] == [True, False]
    factory.close()
    assert [call.ends for call in begun] == [["abandoned"], ["abandoned"], []]


def test_a_call_that_was_withdrawn_is_not_abandoned_twice(made) -> None:
    connection, calls = made
    connection.dataReceived(ATTESTED.line() + GET)
    connection.withdraw()
    connection.connectionLost()
    assert calls[0].ends == ["abandoned"]
