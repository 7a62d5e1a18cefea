"""Header fields, trailers and the reason phrase of an answer.

What describes the octets of the body is taken away: the body that goes on is decoded and scrubbed, so its
length, its coding and its digests are others, and a range of it would not be what was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from appliance.broker.scrub.faults import ScrubFault

Fields = list[tuple[bytes, bytes]]

OF_THE_BODY = frozenset(
    {
        b"accept-ranges",
        b"content-digest",
        b"content-encoding",
        b"content-length",
        b"content-md5",
        b"digest",
        b"repr-digest",
        b"want-content-digest",
        b"want-repr-digest",
    }
)
"""RFC 9110 sections 8.4, 8.6 and 14.3; RFC 9530; RFC 1864 and RFC 3230 before it."""


# Charsets in which an ASCII character is its own octet (the labels of the WHATWG's Encoding Standard).
_ASCII_WITHIN = re.compile(
    rb"utf-?8|(us-)?ascii|iso-?8859-?[0-9]{1,2}|latin-?[0-9]|windows-(125[0-8]|874|31j)|cp125[0-8]|koi8-[ru]|"
    rb"gb2312|gbk|gb18030|big5(-hkscs)?|euc-(jp|kr)|shift[_-]jis|tis-620"
).fullmatch
_CHARSETS = re.compile(rb"charset\s*=\s*[\"']?([^\s;,\"']*)", re.IGNORECASE).findall


def verify_readable(fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Whether a body with these fields can be looked into. Raises `ScrubFault`.

    A range is not: two ranges would give two halves of a secret (RFC 9110 section 14). Neither is a text in
    UTF-16 or another charset of which no octet is what it would be in ASCII.
    """
    for name, value in fields:
        match name.lower():
            case b"content-range":
                raise _partial()
            case b"content-type" if value.strip().lower().startswith(b"multipart/byteranges"):
                raise _partial()
            case b"content-type" if not all(map(_ASCII_WITHIN, map(bytes.lower, _CHARSETS(value)))):
                raise ScrubFault("content-charset-unknown", "the charset of the body is not one over ASCII")


def _partial() -> ScrubFault:
    return ScrubFault("content-partial", "the body is a range of another")


def scrubbed_fields(fields: Iterable[tuple[bytes, bytes]], octets: Callable[[bytes], bytes]) -> Fields:
    """The fields with scrubbed values; one whose name holds a secret is left out whole."""
    fields = list(fields)
    # What would be found in one field is found in all of them together, or something around it is.
    together = b"\n".join(part for field in fields for part in field)
    if octets(together) == together:
        return fields
    return [(name, octets(value)) for name, value in fields if octets(name) == name]


def answer_fields(fields: Iterable[tuple[bytes, bytes]], octets: Callable[[bytes], bytes]) -> Fields:
    """The fields of an answer whose body goes through `body.Body`, without what told of the old body."""
    return [field for field in scrubbed_fields(fields, octets) if field[0].lower() not in OF_THE_BODY]


def content_encoding(fields: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The values of all Content-Encoding fields, in order."""
    return [value for name, value in fields if name.lower() == b"content-encoding"]
