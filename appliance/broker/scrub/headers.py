"""Header fields, trailers and the reason phrase of an answer.

What describes the octets of the body is taken away: the body that goes on is decoded and scrubbed, so its
length, its coding and its digests are others, and a range of it would not be what was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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


def scrubbed_fields(fields: Iterable[tuple[bytes, bytes]], octets: Callable[[bytes], bytes]) -> Fields:
    """The fields with scrubbed values; one whose name holds a secret is left out whole."""
    return [(name, octets(value)) for name, value in fields if octets(name) == name]


def answer_fields(fields: Iterable[tuple[bytes, bytes]], octets: Callable[[bytes], bytes]) -> Fields:
    """The fields of an answer whose body goes through `body.Body`, without what told of the old body."""
    return [field for field in scrubbed_fields(fields, octets) if field[0].lower() not in OF_THE_BODY]


def content_encoding(fields: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The values of all Content-Encoding fields, in order."""
    return [value for name, value in fields if name.lower() == b"content-encoding"]
