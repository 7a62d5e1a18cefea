"""DNS over TCP: framing, identity and bounds, on fake transports."""

import socket
import struct
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest
from twisted.internet.address import IPv4Address as Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.endpoints import Endpoint, EndpointTable
from appliance.links import link_mark
from appliance.resolver.tcp import (
    CONNECTIONS_PER_ENDPOINT,
    IDLE_TIME,
    QUESTIONS_PER_CONNECTION,
    TcpQuestionsFactory,
)


def framed(wire):
    return struct.pack(">H", len(wire)) + wire


OWN_LINK = link_mark("e1")


class Transport(StringTransport):
    aborting = False

    def abortConnection(self):
        self.aborting = True


@dataclass
class Marked:
    """What a transport's handle says of the link by which the connection came."""

    mark: int

    def getsockopt(self, level, name):
        assert (level, name) == (socket.SOL_SOCKET, socket.SO_MARK)
        return self.mark


class Echo:
    def __init__(self):
        self.counts = Counter()
        self.asked = []
        self.held = None
        self.cancelled = 0

    async def answer(self, wire, asker):
        self.asked.append((wire, asker))
        if self.held is not None:
            deferred = Deferred()
            self.held.append(deferred)
            try:
                await deferred
            except CancelledError:
                self.cancelled += 1
                raise
        return wire[::-1] if wire != b"silence" else None


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def table():
    table = EndpointTable()
    table.update([Endpoint("e1", "n1", "acme", IPv4Address("172.18.0.2"), "t-e1", 7)], [])
    return table


@pytest.fixture
def factory(table, echo, clock):
    return TcpQuestionsFactory(table, echo, clock)


@pytest.fixture
def connect(factory):
    def connect(source="172.18.0.2", mark=OWN_LINK):
        transport = Transport(
            hostAddress=Address("TCP", "8.8.8.8", 53), peerAddress=Address("TCP", source, 4000)
        )
        transport.getHandle = lambda: Marked(mark)
        protocol = factory.buildProtocol(None)
        protocol.makeConnection(transport)
        return protocol, transport

    return connect


def lost(protocol):
    protocol.connectionLost(Failure(ConnectionDone()))


def test_questions_are_read_byte_by_byte_and_answered(connect, echo):
    protocol, transport = connect()
    for byte in framed(b"one") + framed(b"silence") + framed(b"two"):
        protocol.dataReceived(bytes([byte]))
    assert transport.value() == framed(b"eno") + framed(b"owt")
    _, asker = echo.asked[0]
    assert (asker.endpoint.id, asker.source, asker.transport) == ("e1", "172.18.0.2:4000", "tcp")
    assert asker.destination == IPv4Address("8.8.8.8")


def test_a11_nobody_of_ours_is_dropped(connect, echo):
    protocol, transport = connect("172.18.0.3")
    assert transport.aborting
    protocol.dataReceived(framed(b"one"))
    assert echo.asked == []
    lost(protocol)


def test_a11_a_connection_of_an_earlier_holder_of_the_address_is_dropped(connect, echo):
    protocol, transport = connect(mark=link_mark("e0"))
    assert transport.aborting
    protocol.dataReceived(framed(b"one"))
    assert echo.asked == []


def test_a_question_that_is_too_long_ends_the_connection(connect, echo):
    protocol, transport = connect()
    protocol.dataReceived(struct.pack(">H", 1233))
    assert transport.aborting
    assert echo.asked == []


def test_f4_silence_ends_the_connection_and_questions_keep_it(connect, clock):
    protocol, transport = connect()
    clock.advance(IDLE_TIME - 1)
    protocol.dataReceived(framed(b"one"))
    clock.advance(IDLE_TIME - 1)
    protocol.dataReceived(b"\0")  # a dribble is no question
    assert not transport.aborting
    clock.advance(1)
    assert transport.aborting


def test_f4_an_endpoint_has_a_bounded_number_of_connections(connect, factory):
    opened = [connect() for _ in range(CONNECTIONS_PER_ENDPOINT)]
    assert not any(transport.aborting for _, transport in opened)
    _, refused = connect()
    assert refused.aborting
    lost(opened[0][0])
    _, admitted = connect()
    assert not admitted.aborting


def test_f4_a_connection_has_a_bounded_number_of_questions(connect, echo):
    protocol, transport = connect()
    echo.held = []
    protocol.dataReceived(framed(b"q") * (QUESTIONS_PER_CONNECTION + 5))
    assert len(echo.asked) == QUESTIONS_PER_CONNECTION
    for deferred in echo.held[:-1]:
        deferred.callback(None)
    assert not transport.disconnecting
    echo.held[-1].callback(None)
    assert transport.disconnecting
    protocol.dataReceived(framed(b"q"))
    assert len(echo.asked) == QUESTIONS_PER_CONNECTION
    assert transport.value() == framed(b"q") * QUESTIONS_PER_CONNECTION


def test_answers_that_nobody_waits_for_are_given_up(connect, echo, clock, factory):
    protocol, _ = connect()
    echo.held = []
    protocol.dataReceived(framed(b"q") * 3)
    lost(protocol)
    assert echo.cancelled == 3
    assert clock.getDelayedCalls() == []
    assert not factory.opened


def test_connections_of_an_endpoint_that_went_away_are_dropped(connect, factory, table):
    _, transport = connect()
    factory.drop_endpoint(*table)
    assert transport.aborting
