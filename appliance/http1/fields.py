"""What single header fields mean to an intermediary: which may stand once, which never travel on.

Names are in lower case. `_` beside `-` matters because CGI and its heirs read both as `_`.
"""

from __future__ import annotations

from collections.abc import Iterable

Headers = tuple[tuple[bytes, bytes], ...]

# RFC 9110 section 5.3: a field that is no list may not be repeated. Which of two counts, nobody agrees on.
REQUEST_SINGLETONS = frozenset({
    b"host", b"content-length", b"transfer-encoding", b"content-type", b"content-range",
    b"content-location", b"authorization", b"proxy-authorization", b"cookie", b"date", b"expect", b"from",
    b"if-modified-since", b"if-range", b"if-unmodified-since", b"max-forwards", b"origin", b"range",
    b"referer", b"te", b"upgrade", b"user-agent",
})  # fmt: skip
RESPONSE_SINGLETONS = frozenset({
    b"content-length", b"transfer-encoding", b"content-type", b"content-range", b"location", b"upgrade",
})  # fmt: skip

# The names of framing, and of what is judged, as a server that folds '_' into '-' would read them.
DISGUISED = frozenset({b"content_length", b"transfer_encoding", b"content_type", b"content_encoding"})

# RFC 9110 section 7.6.1: what Connection names is removed, so it may not name what was judged or what the
# server needs to tell one caller from another.
NEVER_NOMINATED = frozenset({
    b"host", b"authorization", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding",
    b"content-range", b"cookie", b"origin", b"referer", b"range", b"expect", b"date", b"cache-control",
    b"set-cookie", b"location", b"www-authenticate",
})  # fmt: skip

OWN_OPTIONS = frozenset({b"close", b"keep-alive"})
"""What Connection most often holds. As names of fields they never travel (`HOP_BY_HOP`)."""

# RFC 9110 section 7.6.1: these speak about one connection and are never passed on, nominated or not.
HOP_BY_HOP = frozenset({
    b"connection", b"close", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"http2-settings",
})  # fmt: skip

# Written anew by the writer.
REWRITTEN = frozenset({b"host", b"content-length", b"expect"})

# A server behind a front end believes these about who asks and for what; here the caller would be speaking.
_SPOOFED = frozenset({
    b"via", b"early-data", b"x-rewrite-url", b"x-override-url", b"x-host", b"x-http-host-override",
    b"x-real-ip", b"x-client-ip",
    b"x-cluster-client-ip", b"true-client-ip", b"cf-connecting-ip", b"fastly-client-ip",
    b"x-remote-ip", b"x-remote-addr",
    b"x-originating-ip", b"client-ip", b"x-upstream-https-proxy", b"x-upstream-http-proxy",
    b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-arr-ssl", b"front-end-https",
    b"x-custom-ip-authorization", b"x-middleware-subrequest",
})  # fmt: skip
_SPOOFED_PREFIXES = (
    b"proxy-", b"forwarded", b"x-forward", b"x-original-", b"x-envoy-", b"x-proxy", b"x-azure-",
)  # fmt: skip

# Invitations to leave the judged connection for another (RFC 7838), and the proxy's own answers.
_RESPONSE_ONLY_HERE = frozenset(
    {b"alt-svc", b"proxy-authenticate", b"proxy-authentication-info", b"proxy-status"}
)
_STAYS_IN_RESPONSE = HOP_BY_HOP | _RESPONSE_ONLY_HERE | {b"content-length", b"proxy-connection"}

TELLING_IN_RESPONSE = RESPONSE_SINGLETONS | _STAYS_IN_RESPONSE
"""What a response field must be called to mean something to an intermediary."""


def travels_in_request(name: bytes, nominated: frozenset[bytes]) -> bool:
    """Whether a request field (lower-case name) goes on to the server as it came."""
    if name in HOP_BY_HOP or name in REWRITTEN or name in nominated:
        return False
    dashed = name.replace(b"_", b"-")
    return dashed not in _SPOOFED and not dashed.startswith(_SPOOFED_PREFIXES)


def travels_in_response(name: bytes) -> bool:
    """Whether a response field (lower-case name) goes on to the client as it came, unless it is nominated."""
    return name not in _STAYS_IN_RESPONSE


def as_lines(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Fields as they stand in a head, each with its CRLF."""
    return b"".join([b": ".join(field) + b"\r\n" for field in fields])
