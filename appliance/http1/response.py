"""One response head from a server that is trusted no more than the client (RFC 9112 sections 4 to 6)."""

from __future__ import annotations

import re
from typing import NamedTuple

from appliance.http1 import grammar
from appliance.http1.fields import (
    NEVER_NOMINATED,
    OWN_OPTIONS,
    RESPONSE_SINGLETONS,
    TELLING_IN_RESPONSE,
    Headers,
    as_lines,
    travels_in_response,
)
from appliance.http1.framing import NO_BODY, BodyKind, Framing, response_framing
from appliance.http1.limits import DEFAULT_LIMITS, HeadLimits
from appliance.http1.refused import NeedMore, UpstreamInvalid

_END = b"\r\n\r\n"
_NOTHING: frozenset[bytes] = frozenset()


class ResponseHead(NamedTuple):
    """A response head. `interim` ones (1xx but 101) are followed by another head on the same connection.

    `keep_alive` says whether the server's connection may carry another exchange after the body.
    `headers` are all fields as they came, values possibly with octets over 0x7f (obs-text), never controls.
    `switching` is a 101 that was asked for: what follows is the new protocol. `passed_on` are the end-to-end
    fields but Content-Length as lines for the client.
    """

    status: int
    headers: Headers
    framing: Framing
    http_11: bool
    keep_alive: bool
    interim: bool
    switching: bool
    nominated: frozenset[bytes]
    head_bytes: int
    passed_on: bytes

    def field(self, name: bytes) -> bytes | None:
        """The value of the first field of that (lower-case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


def parse_response_head(
    buffer: bytes | bytearray,
    request_method: str,
    limits: HeadLimits = DEFAULT_LIMITS,
    *,
    searched: int = 0,
    interim_seen: int = 0,
    upgrade_requested: bool = False,
) -> ResponseHead | NeedMore:
    """Read a head from the front of `buffer`, the answer to a `request_method` request.

    `interim_seen` counts the interim heads before this one. Raises `UpstreamInvalid`; nothing else.
    """
    end = buffer.find(_END, max(0, searched - 3), limits.head)
    if end < 0:
        return _incomplete(buffer, limits, searched)
    block = bytes(buffer[: end + len(_END)])
    line = grammar.status_line(block)
    if line is None:
        raise _fault(block)
    lines = grammar.response_field_lines(block, line.end() - 2)
    if len(lines) != block.count(b"\n") - 2:
        raise _fault(block)
    if len(lines) > limits.header_count:
        raise UpstreamInvalid("too-many-headers", f"{len(lines)} header fields from the server")
    if b" \r\n" in block or b"\t\r\n" in block:
        lines = [(name, value.rstrip(b" \t")) for name, value in lines]
    http_11, status = line.group(1) == b"1", int(line.group(2))
    _judge_status(
        status,
        limits.interim_responses - interim_seen,
        http_11=http_11,
        upgrade=upgrade_requested,
    )
    return _judged(status, lines, len(block), http_11=http_11, to_head=request_method == "HEAD")


def _judge_status(status: int, interim_left: int, *, http_11: bool, upgrade: bool) -> None:
    # RFC 9110 section 15: status codes are 100 to 599.
    if status > 599:
        raise UpstreamInvalid("status-invalid", f"{status} is no status code")
    if status == 101:
        # RFC 9110 section 15.2.2 answers an Upgrade. Unasked, it would turn the exchange into a raw tunnel.
        if not upgrade:
            raise UpstreamInvalid("upgrade-unsolicited", "101 to a request that asked for no upgrade")
    elif status < 200 and (interim_left <= 0 or not http_11):
        raise UpstreamInvalid("interim-flood", "too many 1xx responses, or one in HTTP/1.0")


def _judged(
    status: int, lines: list[tuple[bytes, bytes]], size: int, *, http_11: bool, to_head: bool
) -> ResponseHead:
    fields, passed_on = _sorted_out(lines)
    framing = response_framing(
        status,
        fields.get(b"content-length"),
        fields.get(b"transfer-encoding"),
        http_11=http_11,
        to_head=to_head,
    )
    keep_alive, nominated = http_11, _NOTHING
    connection = fields.get(b"connection")
    if connection is not None:
        nominated = grammar.options(connection)
        keep_alive = http_11 and b"close" not in nominated
        if not NEVER_NOMINATED.isdisjoint(nominated):
            raise UpstreamInvalid(
                "connection-nominates", "Connection names a field that is not its to remove"
            )
        if not nominated <= OWN_OPTIONS:
            passed_on = [line for line in passed_on if line[0].lower() not in nominated]
    lasting = keep_alive and framing.kind is not BodyKind.UNTIL_CLOSE and status != 101
    return ResponseHead(
        status, tuple(lines), NO_BODY if status == 101 else framing, http_11, lasting,
        status < 200 and status != 101, status == 101, nominated, size,
        as_lines(passed_on),
    )  # fmt: skip


def _sorted_out(lines: list[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """The fields that mean something to us by their names, and the lines that go on to the client.

    One pass, and one look-up for most lines: 5 us for the ten of a usual head, where sets, copies and
    generators for each purpose took 16.
    """
    fields: dict[bytes, bytes] = {}
    passed_on: list[tuple[bytes, bytes]] = []
    for line in lines:
        key = line[0].lower()
        if key not in TELLING_IN_RESPONSE:
            passed_on.append(line)
            continue
        if key not in fields:
            fields[key] = line[1]
        elif key in RESPONSE_SINGLETONS:
            # Also Content-Length twice with one value, which RFC 9112 section 6.3 would let pass.
            raise UpstreamInvalid("field-repeated", f"{key.decode('ascii')} stands twice in the response")
        else:
            fields[key] += b"," + line[1]
        if travels_in_response(key):
            passed_on.append(line)
    return fields, passed_on


def _incomplete(buffer: bytes | bytearray, limits: HeadLimits, searched: int) -> NeedMore:
    foul = grammar.foul_in_response(buffer, max(0, searched - 1), limits.head)
    if foul is not None:
        raise _foul(foul)
    if len(buffer) >= limits.head:
        raise UpstreamInvalid("head-too-large", f"the response head is over {limits.head} bytes")
    return NeedMore(len(buffer))


def _foul(match: re.Match[bytes]) -> UpstreamInvalid:
    return UpstreamInvalid("octet-invalid", f"octet {match.group()[0]:#04x} out of place in a response head")


def _fault(block: bytes) -> UpstreamInvalid:
    foul = grammar.foul_in_response(block)
    if foul is not None:
        return _foul(foul)
    if grammar.status_line(block) is None:
        return UpstreamInvalid(
            "status-line-invalid", "the answer does not begin with an HTTP/1.1 status line"
        )
    if b"\r\n " in block or b"\r\n\t" in block:
        # RFC 9112 section 5.2: a proxy refuses obs-fold with 502 or unfolds it. Refused.
        return UpstreamInvalid("obs-fold", "a response field continued on a second line")
    return UpstreamInvalid("field-line-invalid", "a response line that is no header field")
