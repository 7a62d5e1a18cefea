"""What is asserted of any bytes: ours, llhttp and h11 read one message alike, or ours refuses with a type."""

from __future__ import annotations

from functools import lru_cache

import httptools

from tests.fuzz.readers import (
    Relayed,
    h11_request,
    h11_response,
    llhttp_requests,
    llhttp_responses,
    relay_request,
    relay_response,
)


def _same_outcome(one: Relayed, two: Relayed) -> bool:
    if one.fault is not None or two.fault is not None:
        return str(one.fault) == str(two.fault)
    return (one.sent is None) == (two.sent is None) and (one.read.start, one.read.body) == (
        two.read.start,
        two.read.body,
    )


def check_request(data: bytes, size: int) -> Relayed:
    ours = relay_request(data, len(data) or 1)
    assert _same_outcome(ours, relay_request(data, size))
    if ours.fault is not None:
        assert 400 <= ours.fault.status < 600
    if ours.sent is None or ours.read.start[0] == b"CONNECT":
        return ours
    # What goes on the wire: one request, the same to all three, and nothing left over.
    by_h11 = h11_request(ours.sent)
    assert by_h11 is not None
    assert (by_h11.start, by_h11.body) == (ours.read.start, ours.read.body)
    assert by_h11.complete == ours.read.complete
    assert by_h11.rest == b""
    assert [value for field, value in by_h11.fields if field == b"host"] == [b"ok.example"]
    by_llhttp = llhttp_requests(ours.sent)
    if by_llhttp is None:
        assert not _known_to_llhttp(ours.read.start[0])
    else:
        assert len(by_llhttp) == 1
        assert (by_llhttp[0].start, by_llhttp[0].body) == (ours.read.start, ours.read.body)
        assert by_llhttp[0].fields == by_h11.fields
        assert by_llhttp[0].complete == ours.read.complete
    # What came in: nothing that either of them refuses, and it ends for them where it ends for us.
    taken = data[: len(data) - len(ours.read.rest)]
    original = [h11_request(taken), *(llhttp_requests(taken) or [None])]
    assert len(original) == 2
    for other in original:
        if other is None:
            assert not _known_to_llhttp(ours.read.start[0])
        elif other.complete and ours.read.complete:
            assert other.start[0] == ours.read.start[0]
            assert other.body == ours.read.body
    return ours


class _Nothing:
    pass


@lru_cache(maxsize=256)
def _known_to_llhttp(verb: bytes) -> bool:
    try:
        httptools.HttpRequestParser(_Nothing()).feed_data(verb + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    except httptools.HttpParserUpgrade:
        return True
    except httptools.HttpParserError:
        return False
    return True


def check_response(data: bytes, size: int, verb: str) -> Relayed:
    ours = relay_response(data, len(data) or 1, verb)
    assert _same_outcome(ours, relay_response(data, size, verb))
    if ours.fault is not None:
        assert ours.fault.status == 502
    if ours.sent is None:
        return ours
    by_h11 = h11_response(ours.sent, verb)
    assert by_h11 is not None
    assert (by_h11.start, by_h11.body, by_h11.complete, by_h11.rest) == (
        ours.read.start,
        ours.read.body,
        True,
        b"",
    )
    if verb != "HEAD":  # llhttp cannot be told what was asked
        by_llhttp = llhttp_responses(ours.sent)
        assert by_llhttp is not None
        assert [(read.start, read.body, read.complete) for read in by_llhttp] == [
            (ours.read.start, ours.read.body, True)
        ]
    return ours
