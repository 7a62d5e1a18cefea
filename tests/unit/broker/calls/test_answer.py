"""An answer on its way back: pace, frames, and what does not go on."""

from __future__ import annotations

from appliance.broker.calls.answer import Answer
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
    answer = Answer(wire, upstream, Scrubber([b"very-secret-key"]), asker)
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
    assert asker.heard == ["on", "done"]


def test_the_answer_to_head_has_its_fields_and_no_body() -> None:
    upstream, asker, wire, answer = answering("HEAD")
    upstream.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX-A: very-secret-key\r\n\r\n")
    assert asker.heard == ["done"]
    assert answer.status == 200
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


def test_what_is_no_http_is_told_without_its_words() -> None:
    _, asker, _, answer = answering()
    answer.response_broken(UpstreamInvalid("obs-fold", "a folded field line"))
    answer.response_failed()
    assert asker.heard == ["upstream-protocol-error", "internal-error"]
    assert not answer.begun
