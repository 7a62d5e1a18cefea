"""Heads written anew from what was judged: nothing of the original octets but names and values goes on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus

from appliance.http1 import grammar
from appliance.http1.fields import Headers, travels_in_request
from appliance.http1.framing import CHUNKED, BodyKind, Framing
from appliance.http1.head import RequestHead
from appliance.http1.response import ResponseHead
from appliance.http1.target import DEFAULT_PORTS, Scheme
from appliance.names import Authority, format_host

_WEBSOCKET_FIELD = re.compile(rb"sec[-_]websocket[-_]", re.IGNORECASE).match
_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}


def host_text(authority: Authority, scheme: Scheme) -> str:
    """The value of a Host field: the port is left out where the scheme implies it (RFC 9110 section 7.2)."""
    host = format_host(authority.host)
    return host if authority.port == DEFAULT_PORTS[scheme] else f"{host}:{authority.port}"


def serialise_request(
    head: RequestHead,
    host: str,
    extra: Headers = (),
    *,
    upgrade: bool = False,
) -> bytes:
    """The head that goes to the server: origin-form, one Host, our framing, end-to-end fields as they came.

    `host` is the value of Host (`host_text`). `extra` is added last and replaces fields of the same name.
    `upgrade` passes on the recorded Upgrade; of the Sec-WebSocket fields only those of `extra` go on then.
    The body, if any, follows in the framing of `head` (`encode_chunk` for chunks).
    Raises `ValueError` for an `extra` that is no field: that would be our own mistake.
    """
    target = head.path if head.query is None else f"{head.path}?{head.query}"
    line = f"{head.method} {target} HTTP/1.1\r\nHost: {host}\r\n".encode("ascii")
    if not extra and not upgrade:
        return b"%b%b%b\r\n" % (line, head.section.passed_on, framing_field(head.framing))
    parts = [line]
    fields = (field for field in head.headers if travels_in_request(field[0].lower(), head.nominated))
    if upgrade:
        fields = (field for field in fields if not _WEBSOCKET_FIELD(field[0]))
    _append_fields(parts, fields, extra)
    parts.append(framing_field(head.framing))
    if upgrade and head.upgrade is not None:
        parts.append(b"Connection: Upgrade\r\nUpgrade: %b\r\n" % head.upgrade.encode("ascii"))
    parts.append(b"\r\n")
    return b"".join(parts)


def relayed_framing(response: ResponseHead, *, to_http_11: bool) -> Framing:
    """How the body of `response` is delimited on its way to the client.

    A body that ends with the server's connection is chunked to a client that knows chunks, so that a cut is
    seen as a cut; chunks end with the connection for HTTP/1.0.
    """
    if response.framing.kind is BodyKind.UNTIL_CLOSE and to_http_11:
        return CHUNKED
    if response.framing.kind is BodyKind.CHUNKED and not to_http_11:
        return Framing(BodyKind.UNTIL_CLOSE)
    return response.framing


def serialise_response_head(head: ResponseHead, *, keep_alive: bool, framing: Framing | None = None) -> bytes:
    """The head that goes to the client; `framing` (see `relayed_framing`) is that of `head` if not given."""
    framing = head.framing if framing is None else framing
    if framing.kind is BodyKind.NONE:
        # RFC 9110 section 8.6: in an answer to HEAD, and in a 304, the length is that of the absent body.
        length = head.field(b"content-length")
        if length is None or head.status < 200 or head.status == 204:
            size = b""
        else:
            size = b"Content-Length: %b\r\n" % length
    else:
        size = framing_field(framing)
    last = b""
    upgrade = head.field(b"upgrade") if head.switching else None
    if upgrade is not None:
        last = b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade
    elif not head.interim and (not keep_alive or framing.kind is BodyKind.UNTIL_CLOSE):
        last = b"Connection: close\r\n"
    return b"%b%b%b%b\r\n" % (_status_line(head.status), head.passed_on, size, last)


@cache
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b""))


def _append_fields(parts: list[bytes], fields: Iterable[tuple[bytes, bytes]], extra: Headers = ()) -> None:
    replaced = {name.lower() for name, _ in extra}
    for name, value in fields:
        if name.lower() not in replaced:
            parts += (name, b": ", value, b"\r\n")
    for name, value in extra:
        if not grammar.token(name) or not grammar.field_value(value):
            raise ValueError(f"no header field: {name!r}")
        parts += (name, b": ", value, b"\r\n")


def framing_field(framing: Framing) -> bytes:
    """The field line that announces a body's end, or nothing."""
    if framing.kind is BodyKind.LENGTH:
        return b"Content-Length: %d\r\n" % framing.length
    return b"Transfer-Encoding: chunked\r\n" if framing.kind is BodyKind.CHUNKED else b""
