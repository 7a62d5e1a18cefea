"""The smuggling gate: every vector refused with its reason, or sent on in its one form (attacks E1-E12, C2, C7)."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.limits import HeadLimits
from appliance.http1.refused import NeedMore, Refused
from appliance.http1.target import TargetForm
from appliance.http1.writer import serialise_request
from appliance.names import Authority, HostName
from appliance.verify.smuggling import REFUSALS, TAKEN, Refusal, Taken

NEXT = b"DELETE /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"


def whole(data: bytes, limits: HeadLimits | None = None) -> RequestHead:
    head = parse_request_head(data, limits or HeadLimits())
    assert isinstance(head, RequestHead)
    return head


def in_pieces(data: bytes, size: int = 1) -> RequestHead | NeedMore:
    """As a connection would: a growing buffer and the last `searched`."""
    buffer = bytearray()
    result: RequestHead | NeedMore = NeedMore()
    for at in range(0, len(data), size):
        assert isinstance(result, NeedMore)
        buffer += data[at : at + size]
        result = parse_request_head(buffer, searched=result.searched)
        if isinstance(result, RequestHead):
            break
    return result


@pytest.mark.parametrize("vector", REFUSALS, ids=lambda v: f"{v.attack} {v.name}"[:80])
def test_refused(vector: Refusal) -> None:
    with pytest.raises(Refused) as caught:
        parse_request_head(vector.request)
    assert (caught.value.reason, caught.value.status) == (vector.reason, vector.status)
    assert caught.value.detail


@pytest.mark.parametrize("vector", REFUSALS, ids=lambda v: f"{v.attack} {v.name}"[:80])
def test_refused_alike_however_the_bytes_arrive(vector: Refusal) -> None:
    with pytest.raises(Refused) as at_once:
        parse_request_head(vector.request)
    for size in (1, 7, 1000):
        with pytest.raises(Refused) as caught:
            in_pieces(vector.request, size)
        assert str(caught.value) == str(at_once.value)


@pytest.mark.parametrize("vector", TAKEN, ids=lambda v: v.name)
def test_taken_in_its_one_form(vector: Taken) -> None:
    head = whole(vector.request + NEXT)
    assert head.head_bytes == len(vector.request)
    assert serialise_request(head, "ok.example") == vector.forwarded


@pytest.mark.parametrize("vector", TAKEN, ids=lambda v: v.name)
def test_taken_alike_however_the_bytes_arrive(vector: Taken) -> None:
    assert in_pieces(vector.request) == whole(vector.request)
    for cut in range(len(vector.request)):
        assert isinstance(parse_request_head(vector.request[:cut]), NeedMore)


@pytest.mark.parametrize("vector", TAKEN, ids=lambda v: v.name)
def test_what_is_sent_is_read_again_as_the_same(vector: Taken) -> None:
    head, again = whole(vector.request), whole(vector.forwarded)
    assert (again.method, again.path, again.query, again.pairs) == (
        head.method,
        head.path,
        head.query,
        head.pairs,
    )
    assert (again.host, again.framing) == (head.host, head.framing)


def test_everything_a_head_says() -> None:
    head = whole(
        b"POST http://ok.example:8080/a%41?x=%5B1&y HTTP/1.1\r\nHost: OK.example:8080\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n"
        b"Connection: close, Upgrade\r\nUpgrade: WebSocket\r\n\r\nhello"
    )
    assert head.method == "POST"
    assert head.form is TargetForm.ABSOLUTE
    assert head.scheme == "http"
    assert head.authority == Authority(HostName("ok.example"), 8080)
    assert (head.host, head.port) == (HostName("ok.example"), 8080)
    assert (head.path, head.query, head.pairs) == ("/aA", "x=%5B1&y", (("x", "[1"), ("y", "")))
    assert (head.content_type, head.content_length, head.chunked) == ("text/plain; charset=utf-8", 12, False)
    assert (head.http_11, head.keep_alive, head.expect_continue, head.upgrade) == (
        True,
        False,
        True,
        "websocket",
    )
    assert head.uri_bytes == len("http://ok.example:8080/a%41?x=%5B1&y")
    assert head.field(b"expect") == b"100-Continue"
    assert head.field(b"cookie") is None


def test_authority_form() -> None:
    head = whole(b"CONNECT ok.example:443 HTTP/1.1\r\nHost: ok.example:443\r\n\r\n")
    assert (head.form, head.path, head.query) == (TargetForm.AUTHORITY, "", None)
    assert head.authority == Authority(HostName("ok.example"), 443)


def test_connect_without_port_in_host_is_the_same_host() -> None:
    assert whole(b"CONNECT ok.example:443 HTTP/1.1\r\nHost: ok.example\r\n\r\n").authority is not None


def test_connect_in_http_10_needs_no_host() -> None:
    """http.client of Python 3.11 opens tunnels like that: pip through a proxy depends on it."""
    head = whole(b"CONNECT ok.example:443 HTTP/1.0\r\n\r\n")
    assert (head.host, head.port) == (HostName("ok.example"), 443)
    assert not head.keep_alive


def test_a_port_is_none_where_none_is_written() -> None:
    head = whole(b"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n")
    assert (head.host, head.port, head.authority) == (IPv4Address("192.0.2.1"), None, None)


def test_http_10_is_one_request_a_connection_and_its_expectation_is_ignored() -> None:
    head = whole(
        b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n"
    )
    assert not head.keep_alive
    assert not head.expect_continue


def test_chunked() -> None:
    head = whole(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert head.chunked
    assert head.content_length is None


def test_limits_are_those_given() -> None:
    """Each bound at its last good and its first bad value (attack E3, F1)."""
    line = b"GET /%b HTTP/1.1"
    tail = b"\r\nHost: a\r\n\r\n"
    fits = line % (b"a" * 36)
    assert len(fits) == 50
    whole(fits + tail, HeadLimits(request_line=50))
    with pytest.raises(Refused, match="request-line-too-long"):
        parse_request_head(fits + tail, HeadLimits(request_line=49))
    with pytest.raises(Refused, match="request-line-too-long"):
        parse_request_head(fits + b"\r\n", HeadLimits(request_line=49))
    size = len(fits + tail)
    whole(fits + tail, HeadLimits(head=size))
    with pytest.raises(Refused, match="head-too-large"):
        parse_request_head(fits + tail, HeadLimits(head=size - 1))
    two = b"GET / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"
    whole(two, HeadLimits(header_count=2))
    with pytest.raises(Refused, match="too-many-headers"):
        parse_request_head(two, HeadLimits(header_count=1))


def test_encoded_slash_where_the_operator_lets_it_stand() -> None:
    request = b"GET /@types%2fnode HTTP/1.1\r\nHost: a\r\n\r\n"
    assert whole(request, HeadLimits(encoded_slash=True)).path == "/@types%2Fnode"


@pytest.mark.parametrize(
    "begin", [b"GET / HTTP/1.1\r\nHost: a\r", b"GET / HTTP/1.1\r\nHost: a\r\nB: c\r", b"GET /\r"]
)
def test_what_nothing_can_mend_is_refused_at_once(begin: bytes) -> None:
    """A peer that sends a lone CR and then waits is not waited for."""
    more = parse_request_head(begin)
    assert isinstance(more, NeedMore)
    with pytest.raises(Refused, match="bare-line-end"):
        parse_request_head(begin + b"x", searched=more.searched)


def test_a_request_line_is_refused_before_its_head_is_there() -> None:
    with pytest.raises(Refused, match="method-invalid"):
        parse_request_head(b"get / HTTP/1.1\r\n")


def test_a_head_that_trickles_is_not_searched_again_and_again() -> None:
    """64 KiB in single bytes: with a search from the front each time this takes minutes."""
    head = (
        b"GET / HTTP/1.1\r\nHost: a\r\n"
        + b"".join(b"X-%d: %b\r\n" % (n, b"y" * 600) for n in range(90))
        + b"\r\n"
    )
    searched = []
    buffer = bytearray()
    result: RequestHead | NeedMore = NeedMore()
    for octet in head:
        assert isinstance(result, NeedMore)
        searched.append(result.searched)
        buffer.append(octet)
        result = parse_request_head(buffer, searched=result.searched)
    assert isinstance(result, RequestHead)
    assert searched == list(range(len(head)))
