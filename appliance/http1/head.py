"""One request head, judged whole (RFC 9112 sections 2, 3 and 5): either every octet is understood or none is.

The usual head costs one expression for the request line and one for all field lines. Why a head is refused is
found out afterwards, in the order of its octets, so that the answer does not depend on how the bytes arrived.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from appliance.http1 import grammar
from appliance.http1.fields import Headers
from appliance.http1.framing import BodyKind, Framing
from appliance.http1.limits import DEFAULT_LIMITS, HeadLimits
from appliance.http1.refused import NeedMore, Refused
from appliance.http1.section import FieldSection, judge_fields
from appliance.http1.target import DEFAULT_PORTS, Pairs, Scheme, Target, TargetForm, parse_target
from appliance.names import Authority, Host

_END = b"\r\n\r\n"


class RequestHead(NamedTuple):
    """A request head in which nothing is left to interpretation.

    `host` and `port` are those of the Host field (`port` None when not written; in authority form without
    Host they are the target's). `authority` and `scheme` are set in absolute form, `authority` alone in
    authority form. `path` is canonical, `query` canonical without '?', `pairs` its decoded keys and values.
    `headers` are all fields as they came; `section` is what they say. `head_bytes` is the size of the head on
    the wire, which is also what to remove from the buffer; `uri_bytes` the size of the target as sent.
    """

    method: str
    form: TargetForm
    scheme: Scheme | None
    authority: Authority | None
    host: Host
    port: int | None
    path: str
    query: str | None
    pairs: Pairs
    headers: Headers
    framing: Framing
    http_11: bool
    keep_alive: bool
    expect_continue: bool
    upgrade: str | None
    content_type: str | None
    nominated: frozenset[bytes]
    uri_bytes: int
    head_bytes: int
    section: FieldSection

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.framing.kind is BodyKind.CHUNKED

    @property
    def content_length(self) -> int | None:
        """The announced size of the body in bytes, None where none is announced."""
        return self.framing.length if self.framing.kind is BodyKind.LENGTH else None

    def field(self, name: bytes) -> bytes | None:
        """The value of the first field of that (lower-case) name."""
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return None


def parse_request_head(
    buffer: bytes | bytearray,
    limits: HeadLimits = DEFAULT_LIMITS,
    *,
    searched: int = 0,
    known: FieldSection | None = None,
) -> RequestHead | NeedMore:
    """Read a head from the front of `buffer`; hand `NeedMore.searched` back with the longer buffer.

    `known` is the `section` of an earlier head that was read under the same limits.

    Raises `Refused`; nothing else whatever the bytes are.
    """
    end = buffer.find(_END, max(0, searched - 3), limits.head)
    if end < 0:
        return _incomplete(buffer, limits, searched)
    size = end + len(_END)
    block = bytes(buffer[:size])
    line = grammar.request_line(block)
    if line is None or line.end() > limits.request_line + 2:
        raise _request_line_fault(block, limits)
    octets, http_11 = block[line.end() - 2 :], line.group(3) == b"1"
    is_known = known is not None and known.octets == octets and known.http_11 is http_11
    lines = [] if is_known else _field_lines(octets, limits)
    raw_target = line.group(2).decode("ascii")
    target = parse_target(line.group(1).decode("ascii"), raw_target, encoded_slash=limits.encoded_slash)
    section = known if known is not None and is_known else judge_fields(octets, lines, http_11=http_11)
    return _judged(line, section, target, uri_bytes=len(raw_target), size=size)


def _field_lines(octets: bytes, limits: HeadLimits) -> list[tuple[bytes, bytes]]:
    lines = grammar.request_field_lines(octets)
    # Every line end but the last two begins a matched line, or something in between is no field line.
    if len(lines) != octets.count(b"\n") - 2:
        raise _field_fault(octets)
    if len(lines) > limits.header_count:
        raise Refused(
            431, "too-many-headers", f"{len(lines)} header fields; {limits.header_count} are allowed"
        )
    return lines


def _judged(
    line: re.Match[bytes], section: FieldSection, target: Target, *, uri_bytes: int, size: int
) -> RequestHead:
    method = line.group(1).decode("ascii")
    host, port = _host(target, section)
    framing = section.framing
    if method == "CONNECT" and (framing.kind is BodyKind.CHUNKED or framing.length):
        # RFC 9110 section 9.3.6: content of a CONNECT has no meaning, so it would be read as tunnel bytes.
        raise Refused(400, "connect-with-body", "CONNECT carries no content")
    return RequestHead(
        method, target.form, target.scheme, target.authority, host, port,
        target.path, target.query, target.pairs, section.headers, framing, section.http_11,
        section.keep_alive, section.expect_continue, section.upgrade, section.content_type,
        section.nominated, uri_bytes, size, section,
    )  # fmt: skip


def _host(target: Target, section: FieldSection) -> tuple[Host, int | None]:
    host, port, authority = section.host, section.port, target.authority
    if host is None:
        # RFC 9112 section 3.2 demands Host in HTTP/1.1. Stricter: in HTTP/1.0 too, except for CONNECT, where
        # the target is the whole truth and nothing is forwarded (older Python clients speak that).
        if target.form is TargetForm.AUTHORITY and not section.http_11 and authority is not None:
            return authority.host, authority.port
        raise Refused(400, "host-missing", "a request needs a Host field")
    # RFC 9112 section 3.2.2 has a proxy ignore a Host that differs. Stricter: two answers are no answer.
    if authority is not None:
        implied = DEFAULT_PORTS["http"] if target.form is TargetForm.ABSOLUTE else authority.port
        if host != authority.host or (port or implied) != authority.port:
            raise Refused(400, "host-mismatch", "the Host field is not the authority of the target")
    return host, port


def _incomplete(buffer: bytes | bytearray, limits: HeadLimits, searched: int) -> NeedMore:
    """Refuse what no further byte can mend, looking at new bytes only."""
    if searched < limits.request_line + 2:
        line_end = buffer.find(b"\r\n", 0, limits.request_line + 2)
        if line_end >= 0:
            line = grammar.request_line(buffer)
            if line is None:
                raise _request_line_fault(buffer, limits)
        elif len(buffer) >= limits.request_line + 2:
            raise _request_line_fault(buffer, limits)
    foul = grammar.foul_in_request(buffer, max(0, searched - 1), limits.head)
    if foul is not None:
        raise _foul(foul)
    if len(buffer) >= limits.head:
        raise Refused(431, "head-too-large", f"the head is over {limits.head} bytes")
    return NeedMore(len(buffer))


def _foul(match: re.Match[bytes]) -> Refused:
    octet = match.group()
    if octet in {b"\n", b"\r"}:
        # RFC 9112 section 2.2 lets a recipient take a lone LF. Where only one reader does, requests hide.
        return Refused(400, "bare-line-end", "a CR or LF that is no CRLF")
    return Refused(400, "octet-invalid", f"octet {octet[0]:#04x} cannot stand in a request head")


def _request_line_fault(buffer: bytes | bytearray, limits: HeadLimits) -> Refused:
    """Why there is no request line at the front of `buffer`."""
    end = buffer.find(b"\r\n", 0, limits.request_line + 2)
    foul = grammar.foul_in_request(buffer, 0, limits.request_line + 2 if end < 0 else end + 2)
    if foul is not None:
        return _foul(foul)
    if end < 0:
        return Refused(414, "request-line-too-long", f"the request line is over {limits.request_line} bytes")
    if end == 0:
        # RFC 9112 section 2.2 would skip one empty line. Nothing current sends it; floods do.
        return Refused(400, "leading-crlf", "an empty line before the request line")
    line = bytes(buffer[:end])
    if line == b"PRI * HTTP/2.0":
        return Refused(505, "h2-prior-knowledge", "HTTP/2 is not spoken here; HTTP/1.1 is")
    parts = line.split(b" ")
    if len(parts) != 3 or b"\t" in line or not all(parts):
        return Refused(400, "request-line-invalid", "a request line is METHOD SP target SP HTTP/1.1")
    method, _, version = parts
    if re.fullmatch(rb"HTTP/[0-9](?:\.[0-9])?", version) and version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        return Refused(505, "version-not-supported", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if version not in {b"HTTP/1.1", b"HTTP/1.0"}:
        return Refused(400, "version-invalid", "no HTTP version at the end of the request line")
    if grammar.token(method):
        # RFC 9110 section 9.1: methods are case-sensitive; all registered ones are upper case.
        return Refused(
            400, "method-invalid", "a method is at most 32 upper-case letters, digits, '-' and '_'"
        )
    return Refused(400, "request-line-invalid", "the method is no token")


def _field_fault(octets: bytes) -> Refused:
    """Why the lines of `octets` are not all field lines."""
    foul = grammar.foul_in_request(octets)
    if foul is not None:
        return _foul(foul)
    for line in octets[2:-4].split(b"\r\n"):
        if line[:1] in {b" ", b"\t"}:
            # RFC 9112 section 5.2: obs-fold is to be refused or unfolded. Refused.
            return Refused(400, "obs-fold", "a header field continued on a second line")
        name, colon, _ = line.partition(b":")
        if not colon:
            return Refused(400, "field-line-invalid", "a header line without a colon")
        if name.endswith((b" ", b"\t")):
            # RFC 9112 section 5.1: no whitespace before the colon, with 400 for who sends it.
            return Refused(400, "space-before-colon", "white space between a field name and its colon")
        if not grammar.token(name):
            return Refused(400, "field-name-invalid", "a field name is no token")
    return Refused(400, "field-line-invalid", "a header line that is no field")
