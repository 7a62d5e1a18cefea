"""A WebSocket through a session, without a reactor: opened only as asked, carried as frames, ended for a reason."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from tests.unit.policy.written import compiled
from tests.unit.websocket.test_frames import frame, read
from tests.unit.websocket.test_handshake import ACCEPT, KEY

from .test_session import Talk

RULES = """
    caps: {response_body: %s}
    rules:
      - {name: live, hosts: [site.net], schemes: [http], paths: [/live], upgrade: websocket, subprotocols: [chat],
         max_body: %s}
    """
ASK = (
    b"GET /live HTTP/1.1\r\nHost: site.net\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % KEY.encode()
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n\r\n" % ACCEPT.encode()
)
DONE, LOST = Failure(ConnectionDone()), Failure(ConnectionLost())


class Open(Talk):
    """A session that has asked for a WebSocket; `switch` opens it."""

    def __init__(self, *, sends: str = "1MiB", receives: str = "1MiB", limits=None, ask: bytes = ASK) -> None:
        policy = compiled(RULES % (receives, sends))
        if limits is not None:
            policy.limits = limits(policy.limits)
        super().__init__(policy=policy)
        self.says(ask)
        self.upstream = self.server() if self.worker.reactor.tcpClients else None

    def switch(self, behind: bytes = b"") -> Open:
        self.upstream.protocol.dataReceived(SWITCH + behind)
        assert self.statuses == [101]
        self.asked = len(self.upstream.value())
        self.heard = len(self.wire.value()) - len(behind)
        return self

    @property
    def sent(self) -> list:
        """Frames that the server got."""
        return read(self.upstream.value()[self.asked :], masked=True)

    @property
    def received(self) -> list:
        """Frames that the container got."""
        return read(self.wire.value()[self.heard :], masked=False)

    @property
    def told(self) -> tuple[int, str]:
        """The Close frame that the container got last."""
        (_, opcode, payload) = self.received[-1]
        assert opcode == 8
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def server_says(self, data: bytes) -> None:
        self.upstream.protocol.dataReceived(data)


# Opening.


def test_the_request_goes_on_strictly_and_both_sides_speak_frames() -> None:
    ask = ASK.replace(
        b"Upgrade: websocket", b"Upgrade: WebSocket\r\nSec-WebSocket-Extensions: permessage-deflate"
    ).replace(
        b"\r\n\r\n",
        b"\r\nSec-WebSocket-Protocol: chat\r\nSec_WebSocket_Key: other\r\nOrigin: http://site.net\r\n\r\n",
    )
    talk = Open(ask=ask)
    assert talk.upstream.value() == (
        b"GET /live HTTP/1.1\r\nHost: site.net\r\nOrigin: http://site.net\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Protocol: chat\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        % KEY.encode()
    )
    talk.switch(frame(1, b"early", mask=None))
    assert talk.wire.value().startswith(
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: %b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        % ACCEPT.encode()
    )
    talk.says(frame(1, b"hello"))
    talk.server_says(frame(2, b"world" * 1000, mask=None)[:100])
    talk.server_says(frame(2, b"world" * 1000, mask=None)[100:])
    assert talk.sent == [(True, 1, b"hello")]
    assert talk.received == [(True, 1, b"early"), (True, 2, b"world" * 1000)]
    assert frame(1, b"hello") not in talk.upstream.value()  # masked anew


def test_its_beginning_and_its_end_are_on_record_with_the_bytes() -> None:
    talk = Open().switch()
    (begun,) = talk.worker.audit.records
    assert (begun.outcome, begun.reason, begun.status, begun.detail) == (
        "allowed", "allowed-by-rule", 101, "A WebSocket was opened.",
    )  # fmt: skip
    talk.says(frame(1, b"hello") + frame(8, b"\x03\xe8"))
    talk.server_says(frame(8, b"\x03\xe8", mask=None))
    assert talk.connection.deadline == talk.worker.limits.closing_seconds
    talk.upstream.protocol.connectionLost(DONE)
    _, ended = talk.worker.audit.records
    assert (ended.outcome, ended.status, ended.detail) == (
        "allowed",
        101,
        "The WebSocket ended with code 1000.",
    )
    assert ended.request_id == begun.request_id
    assert ended.bytes_to_upstream == len(talk.upstream.value())
    assert ended.bytes_to_client == len(talk.wire.value())
    assert "live" in begun.rule
    assert talk.wire.half_closed
    assert talk.worker.audit.open_claims == 0


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (ASK.replace(b"/live", b"/other"), "upgrade-not-allowed"),
        (ASK.replace(b"Upgrade: websocket", b"Upgrade: h2c"), None),
        (ASK.replace(b"Upgrade: websocket", b"Upgrade: websocket, TLS/1.3"), "upgrade-not-allowed"),
        (ASK.replace(b"Upgrade: websocket", b"Upgrade: TLS/1.3"), "upgrade-not-allowed"),
        (ASK.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"), "subprotocol-not-allowed"),
        (ASK.replace(b"GET", b"POST"), "upgrade-not-allowed"),
        (ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\nx"), "body-not-allowed"),
        (ASK.replace(KEY.encode(), b"short"), "websocket-handshake-invalid"),
        (ASK.replace(b"Version: 13", b"Version: 8"), "websocket-handshake-invalid"),
        (ASK.replace(b"Connection: Upgrade", b"Connection: close"), "websocket-handshake-invalid"),
        (ASK.replace(b"HTTP/1.1", b"HTTP/1.0"), "websocket-handshake-invalid"),
    ],
)  # fmt: skip
def test_without_rule_and_strict_handshake_nothing_is_dialled_e12_e13(ask: bytes, reason: str | None) -> None:
    talk = Open(ask=ask)
    assert talk.upstream is None
    assert talk.statuses[0] in (400, 403)
    assert talk.worker.audit.reasons == [reason or "h2c-upgrade"]


@pytest.mark.parametrize(
    "answer",
    [
        SWITCH.replace(ACCEPT.encode(), b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        SWITCH.replace(b"Sec-WebSocket-Accept", b"X-Accept"),
        SWITCH.replace(b"Upgrade: websocket", b"Upgrade: raw"),
        SWITCH.replace(b"Upgrade: websocket\r\n", b""),
        SWITCH.replace(b"Connection: Upgrade\r\n", b""),
        SWITCH.replace(b"HTTP/1.1", b"HTTP/1.0"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n"),
        SWITCH.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
)
def test_any_other_101_is_502_and_closes_both_e13(answer: bytes) -> None:
    talk = Open()
    talk.server_says(answer + frame(1, b"secret", mask=None))
    assert talk.statuses == [502]
    assert json.loads(talk.wire.value().partition(b"\r\n\r\n")[2])["reason"] == "upstream-protocol-error"
    assert b"secret" not in talk.wire.value()
    assert (talk.upstream.aborted, talk.wire.half_closed) == (True, True)
    assert talk.records == [("failed", "upstream-protocol-error")]


def test_an_answer_that_is_no_101_is_an_answer_and_the_session_goes_on() -> None:
    talk = Open()
    talk.server_says(b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nno")
    assert talk.statuses == [426]
    assert b"h2c" not in talk.wire.value()
    talk.says(b"GET /x HTTP/1.1\r\nHost: site.net\r\n\r\n")
    assert b"GET /x" in talk.upstream.value()
    talk.server_says(SWITCH)  # the first one's leave is no leave for the second
    assert talk.statuses == [426, 502]


def test_what_is_said_before_the_answer_is_not_carried() -> None:
    """Or a request behind a refused upgrade could be a frame to one reader and a request to another."""
    talk = Open(ask=ASK + b"GET /x HTTP/1.1\r\nHost: site.net\r\n\r\n")
    talk.server_says(SWITCH)
    assert talk.statuses == [400]
    assert talk.records == [("denied", "websocket-early-data")]
    assert (talk.upstream.aborted, talk.wire.half_closed) == (True, True)
    assert b"/x" not in talk.upstream.value()


def test_without_room_for_a_record_it_is_not_opened_f7() -> None:
    talk = Open()
    talk.worker.audit.ready = False
    talk.server_says(SWITCH)
    assert talk.statuses == [503]
    assert talk.upstream.aborted
    assert talk.records == [("failed", "audit-unavailable")]


# Carrying.


def test_each_side_is_read_only_as_fast_as_the_other_takes() -> None:
    talk = Open().switch()
    talk.wire.producer.pauseProducing()
    assert (talk.upstream.producerState, talk.wire.producerState) == ("paused", "producing")
    talk.wire.producer.resumeProducing()
    talk.upstream.producer.pauseProducing()
    assert (talk.upstream.producerState, talk.wire.producerState) == ("producing", "paused")
    talk.upstream.producer.resumeProducing()
    assert talk.wire.producerState == "producing"


def test_one_that_did_not_read_before_it_was_open_is_let_in() -> None:
    talk = Open()
    talk.wire.producer.pauseProducing()
    talk.switch()
    assert (talk.upstream.producerState, talk.wire.producerState) == ("producing", "producing")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: inside\r\n\r\n", b"SSH-2.0-x\r\n", frame(1, b"x", mask=None), b"\x16\x03\x01\x02\x00"]
)  # fmt: skip
def test_it_is_no_raw_tunnel_for_the_container_e13(data: bytes) -> None:
    talk = Open().switch()
    talk.says(frame(2, b"fine"))
    talk.says(data)
    assert talk.sent == [(True, 2, b"fine")]
    assert talk.told == (1002, "websocket-frame-invalid")
    assert (talk.upstream.aborted, talk.wire.half_closed) == (True, True)
    assert talk.records[-1] == ("denied", "websocket-frame-invalid")
    talk.says(frame(2, b"more"))
    assert talk.sent == [(True, 2, b"fine")]


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\n\r\n", b"SSH-2.0-x\r\n", frame(1, b"x"), b"\xc1\x00"])
def test_nor_for_the_server(data: bytes) -> None:
    talk = Open().switch()
    talk.server_says(data)
    assert talk.told == (1014, "upstream-protocol-error")
    assert talk.upstream.aborted
    assert talk.records[-1] == ("failed", "upstream-protocol-error")


def test_what_may_be_sent_is_bounded_before_it_is_sent() -> None:
    talk = Open(sends="10B").switch()
    talk.says(frame(2, b"x" * 10))
    talk.says(frame(2, b"x")[:6])  # its head is enough
    assert talk.sent == [(True, 2, b"x" * 10)]
    assert talk.told == (1009, "body-too-large")
    assert talk.records[-1] == ("denied", "body-too-large")


def test_so_is_what_may_come() -> None:
    talk = Open(receives="10B").switch()
    talk.server_says(frame(2, b"x" * 11, mask=None))
    assert talk.received[:-1] == []
    assert talk.told == (1009, "response-too-large")


@pytest.mark.parametrize(("bound", "says"), [("bytes_out", Open.says), ("bytes_in", Open.server_says)])
def test_bytes_are_charged_against_limits_f4(bound: str, says) -> None:
    talk = Open(
        limits=lambda limits: replace(limits, tenant=replace(limits.tenant, **{bound: 1000}))
    ).switch()
    mask = b"abcd" if bound == "bytes_out" else None
    says(talk, frame(2, b"x" * 500, mask=mask))
    says(talk, frame(2, b"x" * 500, mask=mask))
    assert talk.told == (1008, f"{bound.replace('_', '-')}-exceeded")
    assert talk.records[-1][0] == "denied"
    assert talk.worker.audit.open_claims == 0


@pytest.mark.parametrize(("says", "mask"), [(Open.says, b"abcd"), (Open.server_says, None)])
def test_so_are_frames_however_small_they_are_f4(says, mask) -> None:
    talk = Open(limits=lambda limits: replace(limits, frames_per_second=10)).switch()
    says(talk, frame(9, mask=mask) * 4 + frame(2, b"", mask=mask) * 6)
    assert len(talk.sent + talk.received) == 10
    says(talk, frame(9, mask=mask)[:1])  # no frame yet
    assert len(talk.records) == 1
    says(talk, frame(9, mask=mask)[1:])
    assert talk.told == (1008, "frames-per-second-exceeded")
    assert talk.records[-1] == ("denied", "frames-per-second-exceeded")
    assert talk.upstream.aborted
    assert talk.worker.audit.open_claims == 0


def test_what_is_open_to_a_destination_counts_until_its_end() -> None:
    limits = lambda limits: replace(limits, destination=replace(limits.destination, connections=1))  # noqa: E731
    talk = Open(limits=limits).switch()
    flow = talk.connection._stage._exchange.flow
    assert not flow._closed
    talk.connection.connectionLost(DONE)
    assert flow._closed
