"""Request bytes with what must become of them: the smuggling gate and attack class E, by bytes.

Read by the unit tests of `appliance.http1`, and by whoever sends them from a container or to Squid.
It is long because it is one table, in the order of the attack list: one is looked for here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """`request` must be refused with `status` and `reason`; `attack` is its id in the attack list."""

    name: str
    attack: str
    request: bytes
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """`request` must be taken and go on to the server as `forwarded`, byte for byte."""

    name: str
    request: bytes
    forwarded: bytes


def _get(*lines: bytes, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    return _request(b"GET " + target + b" HTTP/" + version, b"Host: ok.example", *lines)


def _post(*lines: bytes, version: bytes = b"1.1") -> bytes:
    return _request(b"POST / HTTP/" + version, b"Host: ok.example", *lines)


def _request(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


_CHUNKED = b"Transfer-Encoding: chunked"
_LENGTH = b"Content-Length: 5"
_PATHS = {
    b"/../etc": "path-above-root",
    b"/a/../../b": "path-above-root",
    b"/a/%2e%2e/b": "path-encoded-dot",
    b"/a/%2E./b": "path-encoded-dot",
    b"/a/.%2e": "path-encoded-dot",
    b"/a/%2e/b": "path-encoded-dot",
    b"/a/..;/b": "path-dot-parameter",
    b"/a/..;x=1/b": "path-dot-parameter",
    b"/a/.;/b": "path-dot-parameter",
    b"/a/;/b": "path-dot-parameter",
    b"/a/%2e%2e;/b": "path-dot-parameter",
    b"/a/..%3b/b": "path-dot-parameter",
    b"/a%2fb": "path-encoded-slash",
    b"/a%2Fb": "path-encoded-slash",
    b"/a%5cb": "path-encoded-backslash",
    b"/a\\b": "path-backslash",
    b"/a%00b": "path-control",
    b"/a%0d%0ab": "path-control",
    b"/a%7fb": "path-control",
    b"/a%252fb": "path-double-escape",
    b"/a%252eb": "path-double-escape",
    b"/a%25%32%65b": "path-double-escape",
    b"/a%25252fb": "path-double-escape",
    b"/a%255cb": "path-double-escape",
    b"/a%2500b": "path-double-escape",
    b"/a%253bb": "path-double-escape",
    b"/a%253fb": "path-double-escape",
    b"//evil.example/": "path-empty-segment",
    b"/a//b": "path-empty-segment",
    b"/a//": "path-empty-segment",
    b"/a#b": "target-fragment",
    b"/a?b#c": "target-fragment",
    b"/a%": "path-escape-invalid",
    b"/a%2": "path-escape-invalid",
    b"/a%zz": "path-escape-invalid",
    b"/a%u002e": "path-escape-invalid",
    b"/a%%32e": "path-escape-invalid",
    b"/%c0%ae%c0%ae/": "path-not-utf-8",
    b"/%c0%af": "path-not-utf-8",
    b"/%e0%80%af": "path-not-utf-8",
    b"/%ff": "path-not-utf-8",
    b"/a?b%": "query-escape-invalid",
    b"/a?b=%00": "query-nul",
}

REFUSALS: tuple[Refusal, ...] = (
    # Framing
    Refusal("length then coding", "E1", _post(_LENGTH, _CHUNKED), 400, "length-and-coding"),
    Refusal("coding then length", "E1", _post(_CHUNKED, _LENGTH), 400, "length-and-coding"),
    Refusal("zero length and coding", "E1", _post(b"Content-Length: 0", _CHUNKED), 400, "length-and-coding"),
    Refusal("length twice, equal", "E1", _post(_LENGTH, _LENGTH), 400, "field-repeated"),
    Refusal("length twice, different", "E1", _post(_LENGTH, b"Content-Length: 6"), 400, "field-repeated"),
    Refusal("length twice, other case", "E1", _post(_LENGTH, b"content-LENGTH: 5"), 400, "field-repeated"),
    *(
        Refusal(f"length {value!r}", "E1", _post(b"Content-Length:" + value), 400, "length-invalid")
        for value in (
            b" 2, 2",
            b" +5",
            b" -5",
            b" 0x5",
            b"  5",
            b"\t5",
            b" 5 ",
            b" 5\t",
            b" 05",
            b" 5.0",
            b" 5;a",
            b" 1e3",
            b" ",
            b"",
            b" 5 6",
            b' "5"',
            b" 1_000",
            b" 18446744073709551616",
            b" 99999999999999999999999999",
        )
    ),
    Refusal("two codings in two lines", "E1", _post(_CHUNKED, _CHUNKED), 400, "field-repeated"),
    Refusal(
        "identity after chunked, second line",
        "E1",
        _post(_CHUNKED, b"Transfer-Encoding: identity"),
        400,
        "field-repeated",
    ),
    *(
        Refusal(f"coding {value!r}", "E1", _post(b"Transfer-Encoding: " + value), 501, "coding-unknown")
        for value in (
            b"chunked, identity",
            b"identity",
            b"xchunked",
            b"gzip, chunked",
            b"chunked;q=1",
            b"chunked,",
            b'"chunked"',
            b"",
            b",chunked",
            b"chunked chunked",
            b"identity, chunked",
            b"cow",
        )
    ),
    Refusal("coding, tab behind", "E1", _post(_CHUNKED + b"\t"), 400, "coding-invalid"),
    Refusal("coding, space behind", "E1", _post(_CHUNKED + b" "), 400, "coding-invalid"),
    Refusal("coding, two spaces before", "E1", _post(b"Transfer-Encoding:  chunked"), 400, "coding-invalid"),
    Refusal("coding with vertical tab", "E1", _post(b"Transfer-Encoding:\x0bchunked"), 400, "octet-invalid"),
    Refusal("space before colon", "E1", _post(b"Transfer-Encoding : chunked"), 400, "space-before-colon"),
    Refusal("tab before colon", "E1", _post(b"Content-Length\t: 5"), 400, "space-before-colon"),
    Refusal("coding by obs-fold", "E1", _post(b"Transfer-Encoding:", b" chunked"), 400, "obs-fold"),
    Refusal("obs-fold with tab", "E1", _get(b"X-A: b", b"\tc"), 400, "obs-fold"),
    Refusal("first line folded", "E1", _request(b"GET / HTTP/1.1", b" Host: ok.example"), 400, "obs-fold"),
    Refusal("length with underscore", "E1", _post(b"Content_Length: 5"), 400, "framing-disguised"),
    Refusal("coding with underscore", "E1", _post(b"Transfer_Encoding: chunked"), 400, "framing-disguised"),
    Refusal(
        "media type with underscore",
        "E1",
        _post(b"Content_Type: text/x", b"Content-Length: 0"),
        400,
        "framing-disguised",
    ),
    Refusal("chunked in HTTP/1.0", "E1", _post(_CHUNKED, version=b"1.0"), 400, "coding-in-http-10"),
    # Octets
    Refusal("bare LF", "E3", b"GET / HTTP/1.1\nHost: ok.example\n\n", 400, "bare-line-end"),
    Refusal("bare LF in fields", "E3", _get(b"X-A: b\nX-C: d"), 400, "bare-line-end"),
    Refusal(
        "bare LF before the end", "E3", b"GET / HTTP/1.1\r\nHost: ok.example\n\r\n\r\n", 400, "bare-line-end"
    ),
    Refusal("bare CR in a value", "E3", _get(b"X-A: b\rX-C: d"), 400, "bare-line-end"),
    Refusal("bare CR in the target", "E3", _get(target=b"/a\rb"), 400, "bare-line-end"),
    Refusal("CR CR LF", "E3", b"GET / HTTP/1.1\r\r\nHost: ok.example\r\n\r\n", 400, "bare-line-end"),
    Refusal("NUL in a value", "E3", _get(b"X-A: b\0c"), 400, "octet-invalid"),
    Refusal("NUL in a name", "E3", _get(b"X-\0A: b"), 400, "octet-invalid"),
    Refusal(
        "NUL in Host", "C2", _request(b"GET / HTTP/1.1", b"Host: 1.1.1.1\0.ok.example"), 400, "octet-invalid"
    ),
    Refusal("NUL in the target", "E3", _get(target=b"/a\0b"), 400, "octet-invalid"),
    Refusal("non-ASCII value", "E3", _get(b"X-A: \xc3\xbc"), 400, "octet-invalid"),
    Refusal("non-ASCII target", "E3", _get(target=b"/\xc3\xbc"), 400, "octet-invalid"),
    Refusal("DEL in a value", "E3", _get(b"X-A: \x7f"), 400, "octet-invalid"),
    Refusal("escape in a value", "E3", _get(b"X-A: \x1b[2J"), 400, "octet-invalid"),
    Refusal("leading CRLF", "E3", b"\r\n" + _get(), 400, "leading-crlf"),
    Refusal("leading CRLF flood", "E3", b"\r\n" * 1000, 400, "leading-crlf"),
    Refusal("leading LF flood", "E3", b"\n" * 1000, 400, "bare-line-end"),
    # Field lines
    Refusal("name is no token", "E1", _get(b"X(A): b"), 400, "field-name-invalid"),
    Refusal("name is empty", "E1", _get(b": b"), 400, "field-name-invalid"),
    Refusal("pseudo-header", "E12", _get(b":authority: evil.example"), 400, "field-name-invalid"),
    Refusal("name with a space", "E1", _get(b"X A: b"), 400, "field-name-invalid"),
    Refusal("no colon", "E1", _get(b"Broken"), 400, "field-line-invalid"),
    Refusal("field repeated", "E1", _get(b"Authorization: a", b"Authorization: b"), 400, "field-repeated"),
    # Bounds
    Refusal("request line over its cap", "E3", _get(target=b"/" + b"a" * 9000), 414, "request-line-too-long"),
    Refusal("request line without end", "E3", b"GET /" + b"a" * 9000, 414, "request-line-too-long"),
    Refusal("method without end", "E3", b"A" * 9000, 414, "request-line-too-long"),
    Refusal("head over its cap", "E3", _get(b"X-A: " + b"b" * 70000), 431, "head-too-large"),
    Refusal("head without end", "E3", _get()[:-2] + b"X: y\r\n" * 20000, 431, "head-too-large"),
    Refusal("too many fields", "E3", _get(*(b"X-%d: y" % n for n in range(100))), 431, "too-many-headers"),
    # Host and target
    Refusal("two Host", "E5", _get(b"Host: ok.example"), 400, "field-repeated"),
    Refusal("two Host, different", "E5", _get(b"host: evil.example"), 400, "field-repeated"),
    Refusal("no Host", "E5", _request(b"GET / HTTP/1.1", b"Accept: */*"), 400, "host-missing"),
    Refusal("no Host in HTTP/1.0", "E5", _request(b"GET / HTTP/1.0"), 400, "host-missing"),
    Refusal("no Host, absolute", "E5", _request(b"GET http://ok.example/ HTTP/1.1"), 400, "host-missing"),
    Refusal("no Host in CONNECT", "E5", _request(b"CONNECT ok.example:443 HTTP/1.1"), 400, "host-missing"),
    Refusal("other Host, absolute", "E5", _get(target=b"http://evil.example/"), 400, "host-mismatch"),
    Refusal("other port, absolute", "E5", _get(target=b"http://ok.example:81/"), 400, "host-mismatch"),
    Refusal(
        "other Host, CONNECT",
        "E5",
        _request(b"CONNECT evil.example:443 HTTP/1.1", b"Host: ok.example:443"),
        400,
        "host-mismatch",
    ),
    Refusal(
        "other port, CONNECT",
        "E5",
        _request(b"CONNECT ok.example:443 HTTP/1.1", b"Host: ok.example:22"),
        400,
        "host-mismatch",
    ),
    *(
        Refusal(f"Host {value!r}", "C", _request(b"GET / HTTP/1.1", b"Host: " + value), 400, "host-invalid")
        for value in (
            b"",
            b"ok.example:",
            b"ok.example:0",
            b"ok.example:65536",
            b"ok.example:080",
            b"ok.example:80:80",
            b"ok example",
            b"ok.example, evil.example",
            b"ok@evil.example",
            b"ok.example/",
            b"2130706433",
            b"0x7f.1",
            b"0177.0.0.1",
            b"127.1",
            b"[::1",
            b"[fe80::1%25eth0]",
            b"[[::1]]",
            b"[127.0.0.1]",
            b"..",
            b".ok.example",
            b"ok..example",
            b"ok.example..",
            b"ok.example%00",
            b"ok.example\\evil",
        )
    ),
    Refusal("userinfo", "C7", _get(target=b"http://ok.example@evil.example/"), 400, "authority-userinfo"),
    Refusal(
        "backslash host", "C7", _get(target=b"http://evil.example\\ok.example/"), 400, "authority-invalid"
    ),
    Refusal("empty authority", "E5", _get(target=b"http:///a"), 400, "authority-invalid"),
    Refusal("https in plain", "E6", _get(target=b"https://ok.example/"), 400, "target-https-in-plain"),
    *(
        Refusal(f"scheme of {target!r}", "E19", _get(target=target), 400, "scheme-not-supported")
        for target in (
            b"ftp://ok.example/",
            b"gopher://ok.example/",
            b"ws://ok.example/",
            b"file:///etc/passwd",
        )
    ),
    Refusal("urn", "E19", _get(target=b"urn:isbn:1"), 400, "target-form"),
    Refusal("mgr", "E19", _get(target=b"mgr:info"), 400, "target-form"),
    Refusal("asterisk", "E6", _request(b"OPTIONS * HTTP/1.1", b"Host: ok.example"), 400, "target-asterisk"),
    Refusal("authority without CONNECT", "E6", _get(target=b"ok.example:80"), 400, "target-form"),
    Refusal("relative target", "E6", _get(target=b"a/b"), 400, "target-form"),
    Refusal(
        "CONNECT without port",
        "E6",
        _request(b"CONNECT ok.example HTTP/1.1", b"Host: ok.example"),
        400,
        "authority-invalid",
    ),
    Refusal(
        "CONNECT with path",
        "E6",
        _request(b"CONNECT ok.example:443/ HTTP/1.1", b"Host: ok.example"),
        400,
        "authority-invalid",
    ),
    Refusal(
        "CONNECT origin-form",
        "E6",
        _request(b"CONNECT / HTTP/1.1", b"Host: ok.example"),
        400,
        "authority-invalid",
    ),
    Refusal(
        "CONNECT with length",
        "E6",
        _request(b"CONNECT ok.example:443 HTTP/1.1", b"Host: ok.example:443", _LENGTH),
        400,
        "connect-with-body",
    ),
    Refusal(
        "CONNECT chunked",
        "E6",
        _request(b"CONNECT ok.example:443 HTTP/1.1", b"Host: ok.example:443", _CHUNKED),
        400,
        "connect-with-body",
    ),
    # Request line
    *(
        Refusal(
            f"method {method!r}", "E7", _request(method + b" / HTTP/1.1", b"Host: ok.example"), 400, reason
        )
        for method, reason in (
            (b"get", "method-invalid"),
            (b"Get", "method-invalid"),
            (b"GET\t", "request-line-invalid"),
            (b"GET ", "request-line-invalid"),
            (b" GET", "request-line-invalid"),
            (b"\tGET", "request-line-invalid"),
            (b"G(T", "request-line-invalid"),
            (b"", "request-line-invalid"),
            (b"A" * 33, "method-invalid"),
            (b"1GET", "method-invalid"),
            (b"GET;", "request-line-invalid"),
        )
    ),
    Refusal("two spaces", "E3", b"GET  / HTTP/1.1\r\nHost: ok.example\r\n\r\n", 400, "request-line-invalid"),
    Refusal(
        "trailing space", "E3", b"GET / HTTP/1.1 \r\nHost: ok.example\r\n\r\n", 400, "request-line-invalid"
    ),
    Refusal("space in target", "E3", _get(target=b"/a b"), 400, "request-line-invalid"),
    Refusal("tab in target", "E3", _get(target=b"/a\tb"), 400, "request-line-invalid"),
    Refusal("HTTP/0.9", "E3", b"GET /\r\n\r\n", 400, "request-line-invalid"),
    *(
        Refusal(f"version {version!r}", "E3", _get(version=version), status, reason)
        for version, status, reason in (
            (b"1.2", 505, "version-not-supported"),
            (b"2.0", 505, "version-not-supported"),
            (b"2", 505, "version-not-supported"),
            (b"0.9", 505, "version-not-supported"),
            (b"3", 505, "version-not-supported"),
            (b"1.1a", 400, "version-invalid"),
            (b"1.10", 400, "version-invalid"),
            (b"01.1", 400, "version-invalid"),
            (b"1,1", 400, "version-invalid"),
        )
    ),
    Refusal(
        "version in lower case", "E3", b"GET / http/1.1\r\nHost: ok.example\r\n\r\n", 400, "version-invalid"
    ),
    Refusal("HTTP/2 preface", "E12", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "h2-prior-knowledge"),
    # Upgrades, expectations, nominations
    Refusal(
        "h2c upgrade",
        "E12",
        _get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
        400,
        "h2c-upgrade",
    ),
    Refusal("h2c settings alone", "E12", _get(b"HTTP2-Settings: AAMAAABk"), 400, "h2c-upgrade"),
    Refusal(
        "h2c among others",
        "E12",
        _get(b"Connection: upgrade", b"Upgrade: websocket, H2C"),
        400,
        "h2c-upgrade",
    ),
    Refusal("other expectation", "E1", _post(b"Expect: 200-ok", _LENGTH), 417, "expectation-unknown"),
    Refusal(
        "listed expectation", "E1", _post(b"Expect: 100-continue, x", _LENGTH), 417, "expectation-unknown"
    ),
    *(
        Refusal(
            f"Connection nominates {name!r}",
            "E1",
            _get(b"Connection: close, " + name),
            400,
            "connection-nominates",
        )
        for name in (
            b"Host",
            b"authorization",
            b"Content-Length",
            b"Transfer-Encoding",
            b"Content-Type",
            b"Cookie",
        )
    ),
    *(
        Refusal(f"path {target!r}", "E10", _get(target=target), 400, reason)
        for target, reason in _PATHS.items()
    ),
)

TAKEN: tuple[Taken, ...] = (
    Taken("plain", _get(), b"GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n"),
    Taken(
        "absolute form becomes origin form",
        _get(target=b"http://OK.example.:80/a?b"),
        b"GET /a?b HTTP/1.1\r\nHost: ok.example\r\n\r\n",
    ),
    Taken(
        "absolute form without path",
        _get(target=b"http://ok.example"),
        b"GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n",
    ),
    Taken(
        "absolute form without path, with query",
        _get(target=b"http://ok.example?q=1"),
        b"GET /?q=1 HTTP/1.1\r\nHost: ok.example\r\n\r\n",
    ),
    Taken("HTTP/1.0", _get(version=b"1.0"), b"GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n"),
    Taken("dot segments", _get(target=b"/a/./b/../c/."), b"GET /a/c/ HTTP/1.1\r\nHost: ok.example\r\n\r\n"),
    Taken(
        "unreserved escapes decoded, others in upper case",
        _get(target=b"/%7euser/%c3%bc%3a?%71=%3d%2f%20"),
        b"GET /~user/%C3%BC%3A?q=%3D%2F%20 HTTP/1.1\r\nHost: ok.example\r\n\r\n",
    ),
    Taken(
        "stray visible characters escaped",
        _get(target=b"/{a}|b?f[x]=\\^`"),
        b"GET /%7Ba%7D%7Cb?f%5Bx%5D=%5C%5E%60 HTTP/1.1\r\nHost: ok.example\r\n\r\n",
    ),
    Taken(
        "white space round values",
        _get(b"A:b", b"C: \t d \t ", b"E:"),
        b"GET / HTTP/1.1\r\nHost: ok.example\r\nA: b\r\nC: d\r\nE: \r\n\r\n",
    ),
    Taken(
        "hop-by-hop and nominated fields removed",
        _get(
            b"Connection: keep-alive, x-private",
            b"Keep-Alive: 5",
            b"X-Private: 1",
            b"TE: trailers",
            b"Trailer: X",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: Basic x",
            b"Upgrade: websocket",
            b"X-Public: 1",
        ),
        b"GET / HTTP/1.1\r\nHost: ok.example\r\nX-Public: 1\r\n\r\n",
    ),
    Taken(
        "E9: fields that speak for a front end removed",
        _get(
            b"X-Original-URL: /admin",
            b"X-Rewrite-URL: /admin",
            b"X-Forwarded-Host: evil",
            b"X-Forwarded-For: 1",
            b"Forwarded: host=evil",
            b"X-Upstream-Https-Proxy: evil",
            b"X_Forwarded_Proto: https",
            b"Via: 1.1 x",
            b"X-HTTP-Method-Override: DELETE",
            b"Accept: */*",
        ),
        b"GET / HTTP/1.1\r\nHost: ok.example\r\nAccept: */*\r\n\r\n",
    ),
    Taken(
        "length",
        _post(b"content-length: 5", b"Expect: 100-continue"),
        b"POST / HTTP/1.1\r\nHost: ok.example\r\nContent-Length: 5\r\n\r\n",
    ),
    Taken(
        "chunked",
        _post(b"transfer-encoding: Chunked"),
        b"POST / HTTP/1.1\r\nHost: ok.example\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    Taken(
        "list fields may repeat",
        _get(b"Accept: a", b"accept: b"),
        b"GET / HTTP/1.1\r\nHost: ok.example\r\nAccept: a\r\naccept: b\r\n\r\n",
    ),
    Taken(
        "unknown method",
        _request(b"M-SEARCH / HTTP/1.1", b"Host: ok.example"),
        b"M-SEARCH / HTTP/1.1\r\nHost: ok.example\r\n\r\n",
    ),
)
