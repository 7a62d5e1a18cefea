"""The root is handed to whoever asks for exactly it; everything else is told that the gateway is away."""

from __future__ import annotations

import json

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from squid.bundle import LONGEST_HEAD, MOST, WITHIN, Bundle, answer

PEM = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
ASKED = b"GET /.well-known/egress/ca.pem HTTP/1.1\r\nHost: gateway.egress.internal\r\n\r\n"


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


def test_the_root() -> None:
    head, _, body = answer(ASKED, PEM).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-pem-file\r\n")
    assert f"Content-Length: {len(PEM)}\r\n".encode() in head
    assert body == PEM
    assert answer(ASKED.replace(b"GET", b"HEAD"), PEM).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        ASKED.replace(b"GET", b"POST"),
        ASKED.replace(b"GET ", b"GET  "),
        ASKED.replace(b"ca.pem", b"ca.pem/../root.key"),
        ASKED.replace(b"HTTP/1.1", b"HTTP/2.0"),
        ASKED.replace(b"GET /", b"GET http://www.example.com/"),
        b"CONNECT 10.0.1.5:80 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + ASKED,
    ],
)
def test_anything_else_is_a_typed_refusal(head: bytes) -> None:
    said, _, body = answer(head, PEM).partition(b"\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body)["reason"] == "gateway-away"
    assert PEM not in body


def test_without_a_root_there_is_none() -> None:
    assert answer(ASKED, b"").startswith(b"HTTP/1.1 503 ")


class Rig:
    def __init__(self) -> None:
        self.clock = Clock()
        self.bundle = Bundle(self.clock, lambda: PEM)

    def call(self) -> tuple[Transport, object]:
        protocol, transport = self.bundle.buildProtocol(None), Transport()
        protocol.makeConnection(transport)
        return transport, protocol


def test_a_request_in_pieces_and_more_behind_it() -> None:
    rig = Rig()
    transport, protocol = rig.call()
    for index in range(len(ASKED)):
        protocol.dataReceived(ASKED[index : index + 1])  # type: ignore[attr-defined]
    protocol.dataReceived(ASKED)  # type: ignore[attr-defined]
    assert transport.value().count(b"HTTP/1.1 200") == 1
    assert transport.disconnecting


def test_a_head_without_an_end_is_answered_and_closed() -> None:
    transport, protocol = Rig().call()
    protocol.dataReceived(b"x" * (LONGEST_HEAD + 1))  # type: ignore[attr-defined]
    assert transport.value().startswith(b"HTTP/1.1 503 ")
    assert transport.disconnecting


def test_who_says_nothing_or_takes_nothing_is_closed() -> None:
    rig = Rig()
    (idle, _), (slow, protocol) = rig.call(), rig.call()
    protocol.dataReceived(ASKED)  # type: ignore[attr-defined]
    rig.clock.advance(WITHIN)
    assert idle.aborted
    assert slow.aborted


def test_no_more_than_so_many_at_a_time() -> None:
    rig = Rig()
    callers = [rig.call() for _ in range(MOST)]
    assert rig.call()[0].aborted
    callers[0][1].connectionLost(Failure(ConnectionDone()))  # type: ignore[attr-defined]
    assert not rig.call()[0].aborted
