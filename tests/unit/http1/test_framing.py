"""Where a body ends, decided from two fields (attack E1)."""

from __future__ import annotations

import pytest

from appliance.http1.framing import (
    CHUNKED,
    NO_BODY,
    UNTIL_CLOSE,
    BodyKind,
    Framing,
    content_length,
    request_framing,
    response_framing,
)
from appliance.http1.refused import Refused, UpstreamInvalid


@pytest.mark.parametrize(("value", "number"), [(b"0", 0), (b"5", 5), (b"9" * 18, 10**18 - 1)])
def test_content_length(value: bytes, number: int) -> None:
    assert content_length(value) == number


@pytest.mark.parametrize(
    "value", [b"", b"+5", b"-0", b"05", b"0x5", b"5 ", b" 5", b"5,5", b"9" * 19, b"5\n", "٥".encode()]
)
def test_no_content_length(value: bytes) -> None:
    assert content_length(value) is None


def test_request() -> None:
    assert request_framing(None, None, http_11=True) == NO_BODY
    assert request_framing(b"0", None, http_11=True) == Framing(BodyKind.LENGTH, 0)
    assert request_framing(b"7", None, http_11=False) == Framing(BodyKind.LENGTH, 7)
    assert request_framing(None, b"CHUNKED", http_11=True) == CHUNKED


@pytest.mark.parametrize(
    ("length", "coding", "http_11", "reason"),
    [
        (b"5", b"chunked", True, "length-and-coding"),
        (b"5", b"identity", True, "length-and-coding"),
        (b"x", b"chunked", False, "length-and-coding"),
        (None, b"chunked", False, "coding-in-http-10"),
        (None, b"gzip, chunked", True, "coding-unknown"),
        (None, b"identity", True, "coding-unknown"),
        (b"5, 5", None, True, "length-invalid"),
    ],
)
def test_request_refused(*, length: bytes | None, coding: bytes | None, http_11: bool, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        request_framing(length, coding, http_11=http_11)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("status", "length", "coding", "to_head", "framing"),
    [
        (200, None, None, False, UNTIL_CLOSE),
        (200, b"5", None, False, Framing(BodyKind.LENGTH, 5)),
        (200, b"0", None, False, Framing(BodyKind.LENGTH, 0)),
        (200, None, b"Chunked", False, CHUNKED),
        (200, b"5", None, True, NO_BODY),
        (200, None, b"chunked", True, NO_BODY),
        (404, None, None, True, NO_BODY),
        (304, b"5", None, False, NO_BODY),
        (304, None, None, False, NO_BODY),
        (204, None, None, False, NO_BODY),
        (204, b"0", None, False, NO_BODY),
        (100, None, None, False, NO_BODY),
    ],
)
def test_response(
    *, status: int, length: bytes | None, coding: bytes | None, to_head: bool, framing: Framing
) -> None:
    assert response_framing(status, length, coding, http_11=True, to_head=to_head) == framing


@pytest.mark.parametrize(
    ("status", "length", "coding", "http_11", "to_head", "reason"),
    [
        (200, b"5", b"chunked", True, False, "length-and-coding"),
        (200, b"5", b"chunked", True, True, "length-and-coding"),
        (200, None, b"chunked", False, False, "coding-unknown"),
        (200, None, b"gzip", True, False, "coding-unknown"),
        (200, None, b"chunked, identity", True, False, "coding-unknown"),
        (200, b"2, 2", None, True, False, "length-invalid"),
        (200, b"-1", None, True, True, "length-invalid"),
        (204, b"5", None, True, False, "body-forbidden"),
        (204, None, b"chunked", True, False, "body-forbidden"),
        (100, b"5", None, True, False, "body-forbidden"),
    ],
)
def test_response_invalid(
    *, status: int, length: bytes | None, coding: bytes | None, http_11: bool, to_head: bool, reason: str
) -> None:
    with pytest.raises(UpstreamInvalid) as caught:
        response_framing(status, length, coding, http_11=http_11, to_head=to_head)
    assert (caught.value.reason, caught.value.status) == (reason, 502)
