"""The proxy's answer by bytes; what a real one does is in tests/system."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from twisted.internet import error
from twisted.internet.address import IPv4Address as Peer
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from appliance.gateway.dial import DialFailed, Dialler, install
from appliance.gateway.limits import Limits
from appliance.gateway.uplink_proxy import ANSWER_LIMITS, Chained, way_of
from appliance.processes import CHAINED_PORT
from appliance.settings import Uplink, UplinkProxy

from .support import OTHER_PUBLIC, PUBLIC, Wire

PROXY = IPv4Address("10.8.0.5")
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Recorder(Protocol):
    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class Dial:
    """A dial through the proxy, the proxy's side played by hand."""

    def __init__(self, *addresses: IPv4Address, port: int = 443, uplink: Uplink | None = None) -> None:
        self.reactor = MemoryReactorClock()
        limits = Limits(connect_seconds=10, addresses_tried=2)
        way = way_of(uplink or Uplink(proxy=UplinkProxy(address=PROXY, port=3128)))(self.reactor, limits)
        self.outcome: list = []
        self.deferred = Deferred.fromCoroutine(
            Dialler(self.reactor, None, limits, way).connect(addresses or (PUBLIC,), port)
        )
        self.deferred.addBoth(self.outcome.append)

    @property
    def tried(self):
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def arrive(self, peer=(str(PROXY), 3128)) -> Wire:
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(Peer("TCP", *peer))
        wire = Wire(peer)
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return wire

    def answer(self, *pieces: bytes) -> Wire:
        wire = self.arrive()
        for piece in pieces:
            wire.protocol.dataReceived(piece)
        return wire

    def refusal(self):
        (failure,) = self.outcome
        failure.trap(DialFailed)
        return failure.value.refusal


def test_the_proxy_is_asked_for_the_literal_address_and_for_nothing_else() -> None:
    dial = Dial(port=80)
    wire = dial.arrive()
    assert dial.tried == [(str(PROXY), 3128)]
    assert wire.value() == b"CONNECT 93.184.215.14:80 HTTP/1.1\r\nHost: 93.184.215.14:80\r\n\r\n"
    assert dial.outcome == []
    wire.protocol.dataReceived(OPENED)
    assert dial.outcome == [(wire, PUBLIC)]
    assert not wire.aborted
    assert dial.reactor.getDelayedCalls() == []


@pytest.mark.parametrize(
    "answer",
    [
        OPENED,
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200\r\nVia: 1.1 proxy\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_an_answer_may_come_octet_by_octet(answer: bytes) -> None:
    dial = Dial()
    wire = dial.answer(*(bytes([octet]) for octet in answer))
    assert dial.outcome == [(wire, PUBLIC)]


def test_the_connection_is_the_tunnels_from_the_head_on() -> None:
    dial = Dial()
    wire = dial.answer(OPENED)
    recorder = Recorder()
    install(wire, recorder)
    wire.protocol.dataReceived(b"from the server")
    assert recorder.received == b"from the server"


@pytest.mark.parametrize(
    "answer",
    [
        OPENED + b"x",
        OPENED + OPENED,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * ANSWER_LIMITS.head,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 51 + b"\r\n",
    ],
)
def test_what_is_not_one_plain_head_is_no_tunnel(answer: bytes) -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC)
    wire = dial.answer(answer)
    assert (dial.refusal().status, dial.refusal().reason) == (502, "uplink-proxy-invalid")
    assert wire.aborted
    assert len(dial.tried) == 1


@pytest.mark.parametrize("status", [100, 102, 201, 204, 299, 301, 400, 403, 407, 429, 500, 501])
def test_only_200_opens_a_tunnel(status: int) -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC)
    wire = dial.answer(b"HTTP/1.1 %d Any\r\n\r\n" % status)
    assert dial.refusal().reason == "uplink-proxy-refused"
    assert f"status {status}" in dial.refusal().detail
    assert wire.aborted
    assert len(dial.tried) == 1


@pytest.mark.parametrize(
    ("status", "reason"),
    [(502, "upstream-unreachable"), (503, "upstream-unreachable"), (504, "upstream-connect-timeout")],
)
def test_what_the_proxy_says_of_an_address_leaves_the_next_one_to_try(status: int, reason: str) -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC, PUBLIC)
    assert dial.answer(b"HTTP/1.1 %d Any\r\n\r\n" % status).aborted
    wire = dial.answer(b"HTTP/1.1 503 Any\r\n\r\n")
    assert wire.value().startswith(b"CONNECT 93.184.215.15:443 ")
    assert dial.refusal().reason == reason
    assert len(dial.tried) == 2


def test_an_answer_has_its_time() -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC)
    wire = dial.answer(b"HTTP/1.1 200 OK\r\n")
    dial.reactor.advance(9.9)
    assert dial.outcome == []
    dial.reactor.advance(0.2)
    assert (dial.refusal().status, dial.refusal().reason) == (504, "uplink-proxy-timeout")
    assert wire.aborted
    wire.protocol.dataReceived(b"\r\n")
    assert len(dial.outcome) == 1


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (error.ConnectionRefusedError(), "uplink-proxy-unreachable"),
        (error.TimeoutError(), "uplink-proxy-timeout"),
    ],
)
def test_a_proxy_that_is_away_is_not_tried_for_every_address(failure, reason: str) -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC)
    dial.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(failure))
    assert dial.refusal().reason == reason
    assert len(dial.tried) == 1


def test_a_proxy_that_hangs_up() -> None:
    dial = Dial()
    wire = dial.answer(b"HTTP/1.1 ")
    wire.protocol.connectionLost(Failure(error.ConnectionDone()))
    assert dial.refusal().reason == "uplink-proxy-invalid"


def test_a_peer_that_is_not_the_proxy_is_sent_nothing() -> None:
    dial = Dial()
    wire = dial.arrive(("10.8.0.6", 3128))
    assert wire.aborted
    assert wire.value() == b""
    assert dial.refusal().reason == "internal-error"


@pytest.mark.parametrize("port", [3128, 80])
def test_g9_the_proxy_is_no_destination(port: int) -> None:
    dial = Dial(PROXY, port=port)
    assert (dial.refusal().status, dial.refusal().reason) == (403, "uplink-proxy-address")
    assert dial.tried == []


def test_cancelling_ends_the_connection_to_the_proxy() -> None:
    dial = Dial(PUBLIC, OTHER_PUBLIC)
    wire = dial.arrive()
    dial.deferred.cancel()
    assert wire.aborted
    assert len(dial.tried) == 1
    assert dial.reactor.getDelayedCalls() == []


def test_chained_asks_squid_for_what_is_public_and_itself_opens_what_was_excepted() -> None:
    dial = Dial(PUBLIC, uplink=Uplink(chained=True))
    assert dial.tried == [("127.0.0.1", CHAINED_PORT)]
    wire = dial.arrive(("127.0.0.1", CHAINED_PORT))
    assert wire.value().startswith(b"CONNECT 93.184.215.14:443 HTTP/1.1\r\n")
    excepted = IPv4Address("10.1.2.3")
    assert Dial(excepted, uplink=Uplink(chained=True)).tried == [(str(excepted), 443)]


def test_without_either_the_address_is_opened() -> None:
    assert Dial(PUBLIC, uplink=Uplink()).tried == [(str(PUBLIC), 443)]


def away(dial: Dial) -> None:
    dial.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(error.ConnectionRefusedError()))


def test_squid_is_tried_again_while_it_reads_new_rules() -> None:
    dial = Dial(PUBLIC, uplink=Uplink(chained=True))
    away(dial)
    assert dial.outcome == []
    dial.reactor.advance(0.05)
    wire = dial.arrive(("127.0.0.1", CHAINED_PORT))
    wire.protocol.dataReceived(OPENED)
    assert dial.outcome == [(wire, PUBLIC)]


def test_a_squid_that_stays_away_is_a_refusal_within_a_second() -> None:
    dial = Dial(PUBLIC, uplink=Uplink(chained=True))
    for pause in (*Chained.PAUSES, 0):
        assert dial.outcome == []
        away(dial)
        dial.reactor.advance(pause)
    assert dial.refusal().reason == "uplink-proxy-unreachable"
    assert len(dial.tried) == 5
    assert sum(Chained.PAUSES) < 1


def test_what_squid_refuses_is_not_asked_again() -> None:
    dial = Dial(PUBLIC, uplink=Uplink(chained=True))
    dial.arrive(("127.0.0.1", CHAINED_PORT)).protocol.dataReceived(b"HTTP/1.1 403 No\r\n\r\n")
    assert dial.refusal().reason == "uplink-proxy-refused"
    assert len(dial.tried) == 1
