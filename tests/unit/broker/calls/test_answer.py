"""An answer on its way back: pace, frames, and what does not go on."""

from __future__ import annotations

import gc
import gzip
import tracemalloc
import weakref
from types import SimpleNamespace

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from appliance.broker.calls.answer import BATCH, Answer
from appliance.broker.scrub.scrubber import Scrubber
from appliance.http1.refused import UpstreamInvalid
from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream
from tests.unit.gateway.support import PUBLIC, SITE, Wire


class Asker:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def answer_goes_on(self) -> None:
        self.heard.append("on")

    def answered(self) -> None:
        self.heard.append("done")

    def answer_failed(self, refusal) -> None:
        self.heard.append(refusal.reason)


def answering(method: str = "GET"):
    upstream = Upstream(Key("acme", False, SITE, 443), PUBLIC, lambda _: None)
    upstream.makeConnection(Wire())
    asker, wire = Asker(), Wire()
    answer = Answer(wire, upstream, Scrubber([b"very-secret-key"]), asker, "ab12-7")
    upstream.send(answer, method, b"REQUEST")
    return upstream, asker, wire, answer


def test_the_answer_is_read_as_fast_as_the_worker_takes_it() -> None:
    upstream, asker, wire, _ = answering()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    wire.producer.pauseProducing()
    assert upstream.transport.producerState == "paused"
    wire.producer.resumeProducing()
    assert upstream.transport.producerState == "producing"
    wire.producer.stopProducing()
    assert not upstream.transport.disconnecting
    upstream.dataReceived(b" half")
    assert wire.producer is None
    assert asker.heard == ["on", "on", "done"]


def test_the_answer_to_head_has_its_fields_and_no_body() -> None:
    upstream, asker, wire, answer = answering("HEAD")
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-A: very-secret-key\r\n\r\n")
    assert asker.heard == ["done"]
    assert answer.status == 200
    assert wire.value().count(b"Content-Length: 9\r\n") == 1
    assert b"chunked" not in wire.value()
    assert b"very-secret-key" not in wire.value()


def test_fields_of_one_connection_and_nominated_ones_stay_behind() -> None:
    upstream, _, wire, _ = answering()
    upstream.dataReceived(
        b"HTTP/1.1 204 No\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nAlt-Svc: h3\r\nX-Stays: 2\r\n\r\n"
    )
    for name in (b"x-hop", b"alt-svc"):
        assert name not in wire.value().lower()
    assert b"X-Stays: 2" in wire.value()


@pytest.mark.parametrize(
    "name", [b"Set-Cookie", b"set_cookie", b"SET-COOKIE2", b"X-Auth-Token", b"X-Subject-Token"]
)
def test_a_session_that_a_provider_begins_stays_here(name: bytes) -> None:
    """Its cookie is as good as the secret it was given for, and would collide at the next call."""
    upstream, _, wire, _ = answering()
    upstream.dataReceived(
        b"HTTP/1.1 200 OK\r\n" + name + b": sid=abcdef0123456789\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok"
    )
    assert b"sid=" not in wire.value()
    assert b"X-A: b\r\n" in wire.value()


def test_what_is_no_http_is_told_without_its_words() -> None:
    _, asker, _, answer = answering()
    answer.response_broken(UpstreamInvalid("obs-fold", "a folded field line"))
    answer.response_failed()
    assert asker.heard == ["upstream-protocol-error", "internal-error"]
    assert not answer.begun


def test_000_63_the_answer_says_our_request_id_and_no_provider_writes_one() -> None:
    upstream, _, wire, _ = answering()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nx-egress-request-id: forged\r\nContent-Length: 2\r\n\r\nok")
    assert wire.value().count(b"X-Egress-Request-Id: ab12-7\r\n") == 1
    assert b"forged" not in wire.value()


def test_a_brief_answer_goes_on_whole_with_its_length() -> None:
    upstream, _, wire, answer = answering()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nx very-secret")
    assert wire.value() == b""
    assert not answer.begun
    upstream.dataReceived(b"-key yyyy")
    said = b"x [scrubbed:secret] yyyy"
    assert wire.value().endswith(b"Content-Length: %d\r\n\r\n%b" % (len(said), said))
    assert answer.begun


def test_a_brief_answer_in_small_pieces_is_kept_as_its_octets() -> None:
    upstream, asker, wire, _ = answering()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 16000\r\n\r\n")
    asker.heard = SimpleNamespace(append=lambda _: None)  # type: ignore[assignment]  # keeps nothing
    tracemalloc.start()
    for number in range(7999):
        upstream.dataReceived(b"%02d" % (number % 100))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 100_000
    upstream.dataReceived(b"99")
    assert wire.value().endswith(
        b"Content-Length: 16000\r\n\r\n" + b"".join(b"%02d" % n for n in range(100)) * 80
    )


def test_a_brief_answer_that_grows_goes_on_in_chunks() -> None:
    packed = gzip.compress(b"grown " * 20_000)
    upstream, asker, wire, _ = answering()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    upstream.dataReceived(head + packed[:-9])
    assert b"Transfer-Encoding: chunked" in wire.value()
    upstream.dataReceived(packed[-9:])
    assert wire.value().endswith(b"0\r\n\r\n")
    assert asker.heard[-1] == "done"


def test_a_brief_answer_that_breaks_off_is_none() -> None:
    upstream, asker, wire, answer = answering()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    upstream.connectionLost(Failure(ConnectionLost()))
    assert (wire.value(), answer.begun) == (b"", False)
    assert wire.producer is None
    assert asker.heard[-1].startswith("upstream-")


def test_the_providers_connection_is_not_left_paused_for_the_next_call() -> None:
    upstream, asker, wire, _ = answering()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    wire.producer.pauseProducing()
    upstream.dataReceived(b" half")
    assert asker.heard[-1] == "done"
    assert upstream.transport.producerState == "producing"


def test_004_01_what_knows_the_secret_is_gone_with_the_answer_and_waits_for_no_collection() -> None:
    upstream, asker, _, answer = answering()
    scrubbing = weakref.ref(answer._scrubbing)
    gc.disable()
    try:
        upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\nvery-secret-key")
        assert scrubbing() is not None
        stream = weakref.ref(answer._stream)
        upstream.dataReceived(b"y" * (20000 - 15))
        assert asker.heard[-1] == "done"
        assert scrubbing() is None
        assert stream() is None
    finally:
        gc.enable()


def test_a_brief_answer_that_cannot_be_searched_leaves_the_workers_connection_as_it_was() -> None:
    upstream, asker, wire, _ = answering()
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n")
    upstream.dataReceived(b"not gzip!")
    assert wire.value() == b""
    assert wire.producer is None
    assert len(asker.heard) == 2


BOMB = gzip.compress(bytes(20 << 20), 9)
BOMB_HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB)


class Full(Wire):
    """A connection that is full at once, as a transport of Twisted is over 64 KiB."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(data) > 64 * 1024:
            self.producer.pauseProducing()


def test_a_small_body_that_decodes_to_a_large_one_is_decoded_as_fast_as_the_worker_takes_it() -> None:
    """60 KB made 40 MiB in the broker's memory, for each call whose worker did not read."""
    upstream, asker, _, answer = answering()
    answer._transport = wire = Full()
    upstream.dataReceived(BOMB_HEAD + BOMB)
    taken = 0
    while wire.producer is not None:
        said = len(wire.value())
        assert said <= 2 * BATCH + 1024
        taken += said
        wire.clear()
        assert upstream.transport.producerState == "paused"
        wire.producer.resumeProducing()
    taken += len(wire.value())
    assert taken > 20 << 20
    assert asker.heard[-1] == "done"
    assert wire.value().endswith(b"0\r\n\r\n")
    assert upstream.transport.producerState == "producing"


def test_a_body_that_proves_damaged_behind_a_pause_is_cut() -> None:
    upstream, asker, _, answer = answering()
    answer._transport = wire = Full()
    upstream.dataReceived(BOMB_HEAD + BOMB[:-4] + b"\0\0\0\0")
    while wire.producer is not None:
        wire.producer.resumeProducing()
    assert asker.heard[-1] == "content-coding-damaged"
    assert upstream.lost


def test_what_waits_behind_a_pause_goes_on_when_the_provider_has_hung_up() -> None:
    upstream, asker, _, answer = answering()
    answer._transport = wire = Full()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    upstream.dataReceived(head + BOMB)
    upstream.connectionLost()
    assert "done" not in asker.heard
    while wire.producer is not None:
        wire.producer.resumeProducing()
    assert asker.heard[-1] == "done"
    assert wire.value().endswith(b"0\r\n\r\n")
