"""Response heads from servers that lie (attacks E1, E13, and the gate's response rows)."""

from __future__ import annotations

import pytest

from appliance.http1.framing import CHUNKED, NO_BODY, UNTIL_CLOSE, BodyKind, Framing
from appliance.http1.limits import HeadLimits
from appliance.http1.refused import NeedMore, UpstreamInvalid
from appliance.http1.response import ResponseHead, parse_response_head


def response(*lines: bytes, status: bytes = b"200 OK", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join((b"HTTP/" + version + b" " + status, *lines)) + b"\r\n\r\n"


def whole(data: bytes, method: str = "GET", *, upgrade_requested: bool = False) -> ResponseHead:
    head = parse_response_head(data, method, upgrade_requested=upgrade_requested)
    assert isinstance(head, ResponseHead)
    return head


def in_pieces(data: bytes, method: str = "GET") -> ResponseHead | NeedMore:
    result: ResponseHead | NeedMore = NeedMore()
    for end in range(1, len(data) + 1):
        assert isinstance(result, NeedMore)
        result = parse_response_head(bytearray(data[:end]), method, searched=result.searched)
        if isinstance(result, ResponseHead):
            break
    return result


LENGTH = b"Content-Length: 5"
CODING = b"Transfer-Encoding: chunked"

INVALID = [
    (response(LENGTH, CODING), "length-and-coding"),
    (response(CODING, LENGTH), "length-and-coding"),
    (response(LENGTH, LENGTH), "field-repeated"),
    (response(LENGTH, b"content-length: 6"), "field-repeated"),
    (response(b"Content-Length: 2, 2"), "length-invalid"),
    (response(b"Content-Length: +5"), "length-invalid"),
    (response(b"Content-Length:"), "length-invalid"),
    (response(CODING, CODING), "field-repeated"),
    (response(b"Transfer-Encoding: gzip, chunked"), "coding-unknown"),
    (response(b"Transfer-Encoding: identity"), "coding-unknown"),
    (response(CODING, version=b"1.0"), "coding-unknown"),
    (response(b"Transfer-Encoding : chunked"), "field-line-invalid"),
    (response(b"X-A: b", b" folded"), "obs-fold"),
    (response(b"X-A: b", b"\tfolded"), "obs-fold"),
    (response(b"X-A: b\0"), "octet-invalid"),
    (response(b"X-A: b\rSet-Cookie: c"), "octet-invalid"),
    (response(b"X-A: b\nSet-Cookie: c"), "octet-invalid"),
    (b"HTTP/1.1 200 OK\nServer: x\n\n", "octet-invalid"),
    (response(b"Broken"), "field-line-invalid"),
    (response(b": x"), "field-line-invalid"),
    (response(b"X\xc3\xbc: x"), "field-line-invalid"),
    (response(b"Location: a", b"Location: b"), "field-repeated"),
    (response(b"Connection: Content-Length", LENGTH), "connection-nominates"),
    (response(b"Connection: set-cookie"), "connection-nominates"),
    (response(status=b"101 Switching"), "upgrade-unsolicited"),
    (response(LENGTH, status=b"204 No"), "body-forbidden"),
    (response(LENGTH, status=b"100 Continue"), "body-forbidden"),
    (response(status=b"100 Continue", version=b"1.0"), "interim-flood"),
    (response(status=b"600 X"), "status-invalid"),
    (response(status=b"099 X"), "status-line-invalid"),
    (response(status=b"20 X"), "status-line-invalid"),
    (response(status=b"2000 X"), "status-line-invalid"),
    (response(status=b"+20 X"), "status-line-invalid"),
    (response(version=b"1.2"), "status-line-invalid"),
    (response(version=b"2.0"), "status-line-invalid"),
    (b"\r\n" + response(), "status-line-invalid"),
    (b"ICY 200 OK\r\n\r\n", "status-line-invalid"),
    (b"SSH-2.0-x\r\n\r\n", "status-line-invalid"),
    (response(b"X-A: " + b"b" * 70000), "head-too-large"),
    (response(*(b"X-%d: y" % n for n in range(101))), "too-many-headers"),
]


@pytest.mark.parametrize(("data", "reason"), INVALID, ids=lambda v: str(v)[:60])
def test_invalid_alike_however_the_bytes_arrive(data: bytes, reason: str) -> None:
    for parse in (parse_response_head, in_pieces):
        with pytest.raises(UpstreamInvalid) as caught:
            parse(data, "GET")
        assert (caught.value.reason, caught.value.status) == (reason, 502)


@pytest.mark.parametrize(
    ("data", "method", "framing", "keep_alive"),
    [
        (response(LENGTH), "GET", Framing(BodyKind.LENGTH, 5), True),
        (response(LENGTH, b"Connection: Close"), "GET", Framing(BodyKind.LENGTH, 5), False),
        (response(LENGTH, version=b"1.0"), "GET", Framing(BodyKind.LENGTH, 5), False),
        (response(CODING), "GET", CHUNKED, True),
        (response(), "GET", UNTIL_CLOSE, False),
        (response(), "HEAD", NO_BODY, True),
        (response(LENGTH), "HEAD", NO_BODY, True),
        (response(CODING), "HEAD", NO_BODY, True),
        (response(status=b"204 No Content"), "GET", NO_BODY, True),
        (response(b"Content-Length: 0", status=b"204 No Content"), "GET", NO_BODY, True),
        (response(LENGTH, status=b"304 Not Modified"), "GET", NO_BODY, True),
    ],
)
def test_framing_and_what_becomes_of_the_connection(
    *, data: bytes, method: str, framing: Framing, keep_alive: bool
) -> None:
    head = whole(data + b"HTTP/1.1 200 OK\r\n\r\n", method)
    assert (head.framing, head.keep_alive, head.interim, head.switching) == (
        framing,
        keep_alive,
        False,
        False,
    )
    assert head.head_bytes == len(data)
    assert in_pieces(data, method) == head


def test_what_nothing_can_mend_is_invalid_at_once() -> None:
    begin = b"HTTP/1.1 200 OK\r\nServer: x\r"
    more = parse_response_head(begin, "GET")
    assert isinstance(more, NeedMore)
    with pytest.raises(UpstreamInvalid, match="octet-invalid"):
        parse_response_head(begin + b"x", "GET", searched=more.searched)


def test_values_keep_their_bytes_and_controls_never_come_through() -> None:
    head = whole(
        response(b"Server: \xfcnix ", b"X-Empty:", b"Set-Cookie: a", b"Set-Cookie: b", status=b"200 \xc4h")
    )
    assert head.headers == (
        (b"Server", b"\xfcnix"),
        (b"X-Empty", b""),
        (b"Set-Cookie", b"a"),
        (b"Set-Cookie", b"b"),
    )
    assert head.field(b"set-cookie") == b"a"
    assert head.field(b"x-none") is None


def test_no_phrase() -> None:
    assert whole(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").status == 200


def test_interim_heads_are_counted() -> None:
    data = response(b"Link: </a>; rel=preload", status=b"103 Early Hints")
    assert whole(data).interim
    last = parse_response_head(data, "GET", HeadLimits(interim_responses=8), interim_seen=7)
    assert isinstance(last, ResponseHead)
    with pytest.raises(UpstreamInvalid, match="interim-flood"):
        parse_response_head(data, "GET", HeadLimits(interim_responses=8), interim_seen=8)


def test_a_101_that_was_asked_for() -> None:
    head = whole(
        response(b"Upgrade: websocket", b"Connection: upgrade", status=b"101 S"), upgrade_requested=True
    )
    assert (head.switching, head.interim, head.keep_alive, head.framing) == (True, False, False, NO_BODY)
