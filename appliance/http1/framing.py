"""Where a message body ends (RFC 9112 section 6), decided once per head and stricter than the RFC allows."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from appliance.http1.refused import Refused, UpstreamInvalid

# RFC 9110 section 8.6 has 1*DIGIT; no sign, no list, no leading zero, and it must fit 63 bits.
_LENGTH = re.compile(rb"(?:0|[1-9][0-9]{0,17})\Z").match


class BodyKind(Enum):
    """The four ways in which a body can be delimited."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until-close"  # responses only


class Framing(NamedTuple):
    """How the body is delimited; `length` in bytes counts for `BodyKind.LENGTH` alone."""

    kind: BodyKind
    length: int = 0


NO_BODY = Framing(BodyKind.NONE)
CHUNKED = Framing(BodyKind.CHUNKED)
UNTIL_CLOSE = Framing(BodyKind.UNTIL_CLOSE)


def content_length(value: bytes) -> int | None:
    """The number a Content-Length value states, in bytes; None when it is anything but one plain number."""
    return int(value) if _LENGTH(value) else None


def request_framing(length: bytes | None, coding: bytes | None, *, http_11: bool) -> Framing:
    """Framing of a request from its (single) Content-Length and Transfer-Encoding values.

    Raises `Refused`.
    """
    if coding is not None:
        # RFC 9112 section 6.1: both fields together ought to be handled as an error. They are.
        if length is not None:
            raise Refused(400, "length-and-coding", "Content-Length and Transfer-Encoding stand together")
        # RFC 9112 section 6.1: a coding in an HTTP/1.0 message means that the framing is faulty.
        if not http_11:
            raise Refused(400, "coding-in-http-10", "HTTP/1.0 knows no Transfer-Encoding")
        # RFC 9112 section 6.1: an unknown coding gets 501. Stricter: chunked alone is known.
        if coding.lower() != b"chunked":
            raise Refused(501, "coding-unknown", "the only Transfer-Encoding accepted is 'chunked'")
        return CHUNKED
    if length is None:
        return NO_BODY
    number = content_length(length)
    if number is None:
        raise Refused(400, "length-invalid", "Content-Length must be one plain decimal number")
    return Framing(BodyKind.LENGTH, number)


def response_framing(
    status: int, length: bytes | None, coding: bytes | None, *, http_11: bool, to_head: bool
) -> Framing:
    """Framing of a response (RFC 9112 section 6.3) to a HEAD request or another. Raises `UpstreamInvalid`."""
    if length is not None and coding is not None:
        raise UpstreamInvalid("length-and-coding", "Content-Length and Transfer-Encoding stand together")
    if coding is not None and (not http_11 or coding.lower() != b"chunked"):
        raise UpstreamInvalid(
            "coding-unknown", "the only Transfer-Encoding accepted is 'chunked' in HTTP/1.1"
        )
    number = None
    if length is not None:
        number = content_length(length)
        if number is None:
            raise UpstreamInvalid("length-invalid", "Content-Length must be one plain decimal number")
    # RFC 9112 section 6.3: 1xx, 204, 304 and any answer to HEAD end with the head.
    if to_head or status == 304:
        return NO_BODY
    if status < 200 or status == 204:
        # RFC 9110 section 8.6 and RFC 9112 section 6.1 forbid both fields here; a zero is harmless.
        if coding is not None or number:
            raise UpstreamInvalid("body-forbidden", f"a {status} response announces a body")
        return NO_BODY
    if coding is not None:
        return CHUNKED
    return UNTIL_CLOSE if number is None else Framing(BodyKind.LENGTH, number)
