"""The field lines of a request head, judged by themselves (RFC 9112 section 5): the part that clients repeat.

A client says the same about itself in every request of a connection, so what its field lines mean is kept
with their octets: the same octets after the same version mean the same again. Nothing here knows the request
line beyond the version, and nothing is kept beyond the connection.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from appliance.http1 import grammar
from appliance.http1.fields import (
    DISGUISED,
    NEVER_NOMINATED,
    REQUEST_SINGLETONS,
    Headers,
    as_lines,
    travels_in_request,
)
from appliance.http1.framing import Framing, request_framing
from appliance.http1.refused import Refused
from appliance.http1.target import parse_host_field
from appliance.names import Host

_NOTHING: frozenset[bytes] = frozenset()
# Stricter than the OWS of RFC 9110 section 5.6.3: one space at most before a framing value, none behind it.
_LENGTH_LINE = re.compile(rb"\r\ncontent-length: ?[0-9]++\r\n", re.IGNORECASE).search
_CODING_LINE = re.compile(rb"\r\ntransfer-encoding: ?[^\s][^\r\n]*(?<![ \t])\r\n", re.IGNORECASE).search


class FieldSection(NamedTuple):
    """What the field lines of one request say. `octets` begin with the CRLF of the request line.

    `host` is None where there is no Host field; `passed_on` are the end-to-end fields as the server gets
    them. A named tuple, as all of a head is: made in a third of the time of a frozen dataclass.
    """

    octets: bytes
    http_11: bool
    headers: Headers
    host: Host | None
    port: int | None
    framing: Framing
    keep_alive: bool
    expect_continue: bool
    upgrade: str | None
    content_type: str | None
    nominated: frozenset[bytes]
    passed_on: bytes


def judge_fields(octets: bytes, lines: list[tuple[bytes, bytes]], *, http_11: bool) -> FieldSection:
    """Judge field lines that are well formed. Raises `Refused`."""
    if b" \r\n" in octets or b"\t\r\n" in octets:
        lines = [(name, value.rstrip(b" \t")) for name, value in lines]
    fields = {name.lower(): value for name, value in lines}
    if len(fields) != len(lines):
        _combine_repeated(fields, lines)
    if not DISGUISED.isdisjoint(fields):
        raise Refused(
            400, "framing-disguised", "a field of the framing, or of the body's type, spelled with '_'"
        )
    named = fields.get(b"host")
    host, port = (None, None) if named is None else parse_host_field(named.decode("ascii"))
    framing = _framing(octets, fields, http_11=http_11)
    keep_alive, nominated = http_11, _NOTHING
    connection = fields.get(b"connection")
    if connection is not None:
        nominated = grammar.options(connection)
        keep_alive = http_11 and b"close" not in nominated
        if not NEVER_NOMINATED.isdisjoint(nominated):
            raise Refused(400, "connection-nominates", "Connection names a field that is not its to remove")
    content_type = fields.get(b"content-type")
    return FieldSection(
        octets, http_11, tuple(lines), host, port, framing, keep_alive,
        _expects_continue(fields.get(b"expect"), http_11=http_11), _upgrade(fields),
        None if content_type is None else content_type.decode("ascii"), nominated,
        as_lines([line for line in lines if travels_in_request(line[0].lower(), nominated)]),
    )  # fmt: skip


def _framing(octets: bytes, fields: dict[bytes, bytes], *, http_11: bool) -> Framing:
    length = fields.get(b"content-length")
    if length is not None and _LENGTH_LINE(octets) is None:
        raise Refused(400, "length-invalid", "Content-Length must be one plain decimal number")
    coding = fields.get(b"transfer-encoding")
    if coding and _CODING_LINE(octets) is None:
        raise Refused(400, "coding-invalid", "white space round the Transfer-Encoding")
    return request_framing(length, coding, http_11=http_11)


def _combine_repeated(fields: dict[bytes, bytes], lines: list[tuple[bytes, bytes]]) -> None:
    """Join what RFC 9110 section 5.3 lets stand in several lines; refuse what it does not."""
    fields.clear()
    for name, value in lines:
        key = name.lower()
        if key not in fields:
            fields[key] = value
        elif key in REQUEST_SINGLETONS:
            raise Refused(400, "field-repeated", f"{key.decode('ascii')} stands twice")
        else:
            fields[key] += b"," + value


def _expects_continue(value: bytes | None, *, http_11: bool) -> bool:
    # RFC 9110 section 10.1.1: anything but 100-continue may get 417; in HTTP/1.0 it is ignored.
    if value is None:
        return False
    if value.lower() != b"100-continue":
        raise Refused(417, "expectation-unknown", "the only expectation known is 100-continue")
    return http_11


def _upgrade(fields: dict[bytes, bytes]) -> str | None:
    value = fields.get(b"upgrade")
    # RFC 9113 section 3.1 withdrew the h2c upgrade; where it lives on, it tunnels past a gateway.
    if b"http2-settings" in fields or (value is not None and b"h2c" in grammar.list_members(value)):
        raise Refused(400, "h2c-upgrade", "HTTP/2 by upgrade is not taken")
    return None if value is None else value.decode("ascii").lower()
