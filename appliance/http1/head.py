"""One request head, judged whole (RFC 9112 sections 2, 3 and 5): either every octet is understood or none is.

The usual head costs one expression for the request line and one for all field lines. Why a head is refused is
found out afterwards, in the order of its octets, so that the answer does not depend on how the bytes arrived.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from appliance.http1 import grammar
from appliance.http1.fields import DISGUISED, NEVER_NOMINATED, REQUEST_SINGLETONS, Headers
from appliance.http1.framing import BodyKind, Framing, request_framing
from appliance.http1.limits import DEFAULT_LIMITS, HeadLimits
from appliance.http1.refused import NeedMore, Refused
from appliance.http1.target import (
    DEFAULT_PORTS,
    Pairs,
    Scheme,
    Target,
    TargetForm,
    parse_host_field,
    parse_target,
)
from appliance.names import Authority, Host

_END = b"\r\n\r\n"
_NOTHING: frozenset[bytes] = frozenset()
# Stricter than the OWS of RFC 9110 section 5.6.3: one space at most before a framing value, none behind it.
_LENGTH_LINE = re.compile(rb"\r\ncontent-length: ?[0-9]++\r\n", re.IGNORECASE).search
_CODING_LINE = re.compile(rb"\r\ntransfer-encoding: ?[^\s][^\r\n]*(?<![ \t])\r\n", re.IGNORECASE).search


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request head in which nothing is left to interpretation.

    `host` and `port` are those of the Host field (`port` None when not written; in authority form without
    Host they are the target's). `authority` and `scheme` are set in absolute form, `authority` alone in
    authority form. `path` is canonical, `query` canonical without '?', `pairs` its decoded keys and values.
    `headers` are all fields as they came. `head_bytes` is the size of the head on the wire, which is also
    what to remove from the buffer; `uri_bytes` the size of the target as sent.
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
    buffer: bytes | bytearray, limits: HeadLimits = DEFAULT_LIMITS, *, searched: int = 0
) -> RequestHead | NeedMore:
    """Read a head from the front of `buffer`; hand `NeedMore.searched` back with the longer buffer.

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
    lines = grammar.request_field_lines(block, line.end() - 2)
    # Every line end but the last two begins a matched line, or something in between is no field line.
    if len(lines) != block.count(b"\n") - 2:
        raise _field_fault(block, line.end())
    if len(lines) > limits.header_count:
        raise Refused(
            431, "too-many-headers", f"{len(lines)} header fields; {limits.header_count} are allowed"
        )
    if b" \r\n" in block or b"\t\r\n" in block:
        lines = [(name, value.rstrip(b" \t")) for name, value in lines]
    return _judged(line, lines, block, limits)


def _judged(
    line: re.Match[bytes], lines: list[tuple[bytes, bytes]], block: bytes, limits: HeadLimits
) -> RequestHead:
    fields = {name.lower(): value for name, value in lines}
    if len(fields) != len(lines):
        _combine_repeated(fields, lines)
    if not DISGUISED.isdisjoint(fields):
        raise Refused(400, "framing-disguised", "a framing field spelled with '_'")
    method, raw_target = line.group(1).decode("ascii"), line.group(2).decode("ascii")
    http_11 = line.group(3) == b"1"
    target = parse_target(method, raw_target, encoded_slash=limits.encoded_slash)
    host, port = _host(target, fields.get(b"host"), http_11=http_11)
    length = fields.get(b"content-length")
    if length is not None and _LENGTH_LINE(block) is None:
        raise Refused(400, "length-invalid", "Content-Length must be one plain decimal number")
    coding = fields.get(b"transfer-encoding")
    if coding and _CODING_LINE(block) is None:
        raise Refused(400, "coding-invalid", "white space round the Transfer-Encoding")
    framing = request_framing(length, coding, http_11=http_11)
    if method == "CONNECT" and (framing.kind is BodyKind.CHUNKED or framing.length):
        # RFC 9110 section 9.3.6: content of a CONNECT has no meaning, so it would be read as tunnel bytes.
        raise Refused(400, "connect-with-body", "CONNECT carries no content")
    keep_alive, nominated = http_11, _NOTHING
    connection = fields.get(b"connection")
    if connection is not None:
        nominated = frozenset(grammar.list_members(connection))
        keep_alive = http_11 and b"close" not in nominated
        if not NEVER_NOMINATED.isdisjoint(nominated):
            raise Refused(400, "connection-nominates", "Connection names a field that is not its to remove")
    content_type = fields.get(b"content-type")
    return RequestHead(
        method, target.form, target.scheme, target.authority, host, port,
        target.path, target.query, target.pairs, tuple(lines), framing, http_11, keep_alive,
        _expects_continue(fields.get(b"expect"), http_11=http_11), _upgrade(fields),
        None if content_type is None else content_type.decode("ascii"),
        nominated, len(raw_target), len(block),
    )  # fmt: skip


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


def _host(target: Target, value: bytes | None, *, http_11: bool) -> tuple[Host, int | None]:
    if value is None:
        # RFC 9112 section 3.2 demands Host in HTTP/1.1. Stricter: in HTTP/1.0 too, except for CONNECT, where
        # the target is the whole truth and nothing is forwarded (older Python clients speak that).
        if target.form is TargetForm.AUTHORITY and not http_11 and target.authority is not None:
            return target.authority.host, target.authority.port
        raise Refused(400, "host-missing", "a request needs a Host field")
    host, port = parse_host_field(value.decode("ascii"))
    authority = target.authority
    # RFC 9112 section 3.2.2 has a proxy ignore a Host that differs. Stricter: two answers are no answer.
    if authority is not None:
        implied = DEFAULT_PORTS["http"] if target.form is TargetForm.ABSOLUTE else authority.port
        if host != authority.host or (port or implied) != authority.port:
            raise Refused(400, "host-mismatch", "the Host field is not the authority of the target")
    return host, port


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


def _field_fault(block: bytes, start: int) -> Refused:
    """Why the lines of `block` from `start` on are not all field lines."""
    foul = grammar.foul_in_request(block)
    if foul is not None:
        return _foul(foul)
    for line in block[start:-4].split(b"\r\n"):
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
