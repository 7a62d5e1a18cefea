"""The body of a call: streamed, or whole where a schema or a signature is over it."""

from __future__ import annotations

import re
import tracemalloc
from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred

from appliance.broker.calls.call import Call
from appliance.broker.calls.keeping import Keeping
from appliance.broker.calls.request_body import FORM, RequestBody
from appliance.http1.head import RequestHead, parse_request_head
from appliance.outgoing.pool import Key
from appliance.outgoing.upstream import Upstream
from appliance.policy.slot import Hmac, Slot
from tests.unit.broker.calls.support import (
    ATTESTED,
    SCHEMA,
    Neighbours,
    account,
)
from tests.unit.gateway.support import PUBLIC, SITE, Wire


def reason(said: bytes) -> str:
    found = re.search(rb'"reason":"([a-z0-9-]+)"', said)
    return found[1].decode() if found else said[9:12].decode()


def test_a_body_is_streamed_and_its_connection_rests_afterwards() -> None:
    n = Neighbours()
    n.post(b'{"title":"a"}')
    assert n.sent.endswith(b'\r\n\r\n{"title":"a"}')
    n.answer()
    assert n.rested == n.upstreams
    assert not n.worker.disconnecting


@pytest.mark.parametrize(
    ("slot", "waits"),
    [
        (Slot(style="bearer"), False),
        (Slot(style="sigv4", service="s3", region="eu-west-1"), False),
        (Slot(style="sigv4", service="sqs", region="eu-west-1"), True),
        (Slot(style="hmac", name="x-signature", hmac=Hmac(message=("target",))), False),
        (Slot(style="hmac", name="x-signature", hmac=Hmac(message=("target", "body"))), True),
    ],
)
def test_a_body_is_kept_only_where_the_signature_is_over_it(slot: Slot, waits: bool) -> None:  # noqa: FBT001
    """An object for S3 can have 5 GiB: the broker would have them all in its memory."""
    n = Neighbours(account(slot))
    head = "POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\nContent-Length: 4"
    n.call(head, b"ab")
    assert ("inject" in n.log) is not waits
    n.connection.dataReceived(b"cd")
    assert "inject" in n.log


def test_a_body_in_chunks_goes_on_in_chunks() -> None:
    n = Neighbours()
    head = "POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\nTransfer-Encoding: chunked"
    n.call(head, b"2\r\nab\r\n")
    n.connection.dataReceived(b"1\r\nc\r\n0\r\n\r\n")
    assert n.sent.endswith(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


def test_000_54_a_body_that_grows_over_the_cap_is_cut() -> None:
    n = Neighbours()
    head = "POST /data/1 HTTP/1.1\nHost: api.example.com\nContent-Type: application/json\nTransfer-Encoding: chunked"
    n.call(head, b"40\r\n" + b"x" * 64 + b"\r\n")
    n.connection.dataReceived(b"1\r\nx\r\n")
    assert reason(n.said) == "body-too-large"
    assert n.upstreams[0].lost


@pytest.mark.parametrize("body", [b'{"title":1}', b"{}", b'{"title":"a","more":1}', b'"title"', b"no json",
                                  b'{"title":"a","title":"b"}', b"\xff"])  # fmt: skip
def test_002_12_003_10_a_body_that_does_not_fit_the_schema_is_refused_before_the_secret(body) -> None:
    n = Neighbours(account(schema=SCHEMA))
    n.post(body)
    assert reason(n.said) == "body-not-allowed"
    assert n.log == []


def test_a_body_that_fits_the_schema_is_sent() -> None:
    n = Neighbours(account(schema=SCHEMA))
    n.post(b'{"title":"a"}')
    n.answer()
    assert n.sent.endswith(b'{"title":"a"}')
    assert n.record.outcome == "allowed"


def test_a_body_that_is_there_before_the_call_begins_goes_along() -> None:
    neighbours = Neighbours()
    body = b'{"title":"x"}'
    lines = ("POST /data/1 HTTP/1.1", "Host: api.example.com", "Content-Type: application/json",
             f"Content-Length: {len(body)}", "", "")  # fmt: skip
    head = parse_request_head("\r\n".join(lines).encode())
    call = Call(neighbours.means, neighbours.connection, ATTESTED, head)
    call.body([body], done=True)
    call.start()
    assert neighbours.sent.endswith(b"\r\n\r\n" + body)


def body_of(*lines: str) -> RequestBody:
    wire = "\r\n".join(["POST / HTTP/1.1", "Host: api.example.com", *lines, "", ""]).encode()
    head = parse_request_head(wire)
    assert isinstance(head, RequestHead)
    return RequestBody(head, "acme", Keeping(), Wire())


@pytest.mark.parametrize(
    ("line", "done"),
    [("X-A: b", True), ("Content-Length: 0", True), ("Content-Length: 1", False), ("Transfer-Encoding: chunked", False)],
)  # fmt: skip
def test_it_is_done_at_once_where_there_is_none(line: str, done) -> None:
    assert body_of(line).done is done


@pytest.mark.parametrize(
    ("kind", "is_form"), [(FORM, True), (f"{FORM}; charset=utf-8", True), ("application/json", False)]
)
def test_a_form_is_known_by_its_type(kind: str, is_form) -> None:
    assert body_of(f"Content-Type: {kind}").is_form is is_form


def test_a_body_that_is_kept_takes_as_much_memory_as_it_has_octets() -> None:
    body = body_of("Transfer-Encoding: chunked", "Content-Type: application/json")
    body.verdict = SimpleNamespace(max_body=1 << 20, rule="r")
    whole: list[bytes] = []
    asking = Deferred.fromCoroutine(body.if_needed(SimpleNamespace(body=SCHEMA)))
    asking.addCallback(whole.append)
    tracemalloc.start()
    for _ in range(10):
        body.arrived([b"%02d" % (number % 100) for number in range(5000)], done=False)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 3 * 100_000
    body.arrived([b"x"], done=True)
    assert whole == [b"".join(b"%02d" % number for number in range(100)) * 500 + b"x"]


def test_it_is_not_read_before_somebody_wants_it() -> None:
    body = body_of("Content-Length: 4")
    body.arrived([b"ab"], done=False)
    assert body._transport.producerState == "paused"
    upstream = Upstream(Key("acme", False, SITE, 443), PUBLIC, lambda _: None)
    upstream.makeConnection(Wire())
    body.send(upstream, None)
    assert body._transport.producerState == "producing"
    body.arrived([b"cd"], done=True)
    assert upstream.transport.value() == b"abcd"
    assert upstream.transport.producer is None
