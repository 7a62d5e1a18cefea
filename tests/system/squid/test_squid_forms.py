"""Whatever bytes: what the real Squid lets through, the gateway would have taken, but for the forms listed here.

SECURITY.md has the same list. Each form is sent alone, as a plain request and inside TLS, and in chance pairs;
each that is let through against the gateway is seen to be, so that the list is neither too short nor too long.
"""

from __future__ import annotations

import http.client
import random
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.http1.fields import NEVER_NOMINATED, REQUEST_SINGLETONS
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.refused import Refused
from appliance.policy.verdict import RequestFacts
from tests.system.squid.conftest import GATEWAY, WEB_POLICY, WEB_TENANT, Entered
from tests.unit.policy.written import compiled

pytestmark = pytest.mark.system

NAME = "www.example.com"
POLICY = compiled(WEB_POLICY)
PAIRS = 200
Form = Callable[[bytes], bytes]
"""A whole request to the same with something done to it."""


def more(*lines: bytes) -> Form:
    """With field lines behind the Host field."""
    return lambda request: _in(request, b"".join(line + b"\r\n" for line in lines))


def _in(request: bytes, added: bytes) -> bytes:
    end = request.index(b"\r\n", request.index(b"Host:")) + 2
    return request[:end] + added + request[end:]


def swap(old: bytes, new: bytes) -> Form:
    return lambda request: request.replace(old, new, 1)


LINE = {
    "HTTP/0.9": lambda r: r[: r.index(b" HTTP/1.1")] + b"\r\n",
    "HTTP/0.9 with fields": swap(b" HTTP/1.1", b""),
    **{
        f"version {version.decode()}": swap(b"HTTP/1.1", version)
        for version in (
            b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/1.10", b"HTTP/01.1", b"HTTP/1", b"http/1.1",
            b"HTTPS/1.1", b"ICY", b"HTTP/1.1x", b"HTTP/1.1 ", b"HTTP/1.1\r", b"HTTP /1.1",
        )
    },
    "two spaces": swap(b" ", b"  "),
    "two spaces before the version": swap(b" HTTP", b"  HTTP"),
    "a tab": swap(b" ", b"\t"),
    "a tab before the version": swap(b" HTTP", b"\tHTTP"),
    "a space first": lambda r: b" " + r,
    "an empty line first": lambda r: b"\r\n" + r,
    "empty lines first": lambda r: b"\r\n\r\n" + r,
    "a line feed first": lambda r: b"\n" + r,
    "a carriage return first": lambda r: b"\r" + r,
    "lower-case method": swap(b"GET", b"get"),
    "another method": swap(b"GET", b"POST"),
    "a longer method": swap(b"GET", b"GETX"),
    "a line feed ends the line": swap(b"HTTP/1.1\r\n", b"HTTP/1.1\n"),
    "line feeds end all lines": lambda r: r.replace(b"\r\n", b"\n"),
    "a fragment": swap(b" HTTP", b"#x HTTP"),
    "a space in the target": swap(b" HTTP", b" x HTTP"),
    "an octet over 127 in the target": swap(b" HTTP", b"\xe4 HTTP"),
    "a NUL in the target": swap(b" HTTP", b"\0 HTTP"),
    "two slashes": swap(b"/a ", b"//a "),
    "dots": swap(b"/a ", b"/../a "),
}  # fmt: skip
AUTHORITY = {
    f"authority {authority.decode()}": swap(b"http://www.example.com/", b"http://" + authority + b"/")
    for authority in (
        b"u:p@www.example.com", b"u@www.example.com", b":@www.example.com", b"@www.example.com",
        b"www.example.com@www.example.com", b"www.example.com:80", b"www.example.com:", b"www.example.com:080",
        b"www.example.com:+80", b"www.example.com:80x", b"www.example.com:65616", b"[www.example.com]",
        b"WWW.example.com", b"www.example.com.", b"www%2eexample.com", b"www.example.com\\", b"/www.example.com",
    )
}  # fmt: skip
FIELDS = {
    "no Host": swap(b"Host: www.example.com\r\n", b""),
    "two Host, equal": more(b"Host: www.example.com"),
    "two Host": more(b"Host: other.example.net"),
    "two Host, the other first": swap(b"Host:", b"Host: other.example.net\r\nHost:"),
    **{
        f"Host {value.decode()!r}": swap(b"Host: www.example.com", b"Host:" + value)
        for value in (
            b"", b" -", b" other.example.net", b" www.example.com:81", b" www.example.com:", b" u@www.example.com",
            b" www.example.com:080", b" www.example.com, www.example.com", b" www.example.com x", b" WWW.example.com",
            b"www.example.com", b"\twww.example.com\t",
        )
    },
    "folded Host": swap(b"Host: ", b"Host:\r\n "),
    **{
        f"{line.decode('latin-1')!r}": more(line)
        for line in (
            b"X-A : b", b"X-A\t: b", b"X-A", b": b", b"X(A): b", b"X A: b", b"X\xe4: b", b"X\1: b", b"X/A: b", b"X\0: b",
            b"X-A:", b"X-A: b\tc", b"X-A: b\0c", b"X-A: b\1c", b"X-A: b\x7fc", b"X-A: b\xffc", b"X-A: b\x0bc",
            b"X-A: b\r\n c", b"X-A: b\r\n\tc", b"X-A: b\r\n ", b"X-A: b\nX-B: c", b"X-A: b\rX-B: c", b"X-A: b\r",
            b"Content-Length: 0", b"Content-Length: 00", b"Content-Length: +0", b"Content-Length:",
            b"Content-Length:  0", b"Content-Length: 0 ", b"Content-Length: 0, 0", b"Content-Length: 5",
            b"Content-Length: 0\r\nContent-Length: 0", b"Content_Length: 5", b"content_length:",
            b"Transfer-Encoding: chunked", b"Transfer-Encoding:", b"Transfer-Encoding: identity",
            b"Transfer-Encoding: x", b"Transfer-Encoding: chunked\r\nContent-Length: 0", b"Transfer_Encoding: chunked",
            b"Upgrade: websocket", b"Upgrade:", b"Upgrade: h2c", b"HTTP2-Settings: AAA", b"HTTP2-Settings:",
            b"Expect: 100-continue", b"Expect: x", b"Expect:", b"Expect: 100-continue, x",
            b"Connection: X-A", b"Connection:", b"Connection: host", b"Connection: x,\tCOOKIE",
        )
    },
    **{f"Connection: {name.decode()}": more(b"Connection: " + name) for name in sorted(NEVER_NOMINATED)},
    **{f"two {name.decode()}": more(name + b": 5", name + b": 5") for name in sorted(REQUEST_SINGLETONS - {b"host"})},
    "two of another": more(b"X-A: 1", b"X-A: 2"),
    "90 more": more(*[b"X-%d: 1" % number for number in range(90)]),
    "150 more": more(*[b"X-%d: 1" % number for number in range(150)]),
    "a line feed ends the head": lambda r: r[:-2] + b"\n",
    "a line feed ends the Host field": swap(b"example.com\r\nC", b"example.com\nC"),
}  # fmt: skip

# What Squid cannot be told (SECURITY.md): why the gateway refuses it, and the forms.
REPEATED = {
    f"two {name}" for name in (
        "authorization", "content-location", "content-range", "content-type", "cookie", "date", "from", "if-modified-since",
        "if-range", "if-unmodified-since", "max-forwards", "origin", "proxy-authorization", "range", "referer", "te",
        "user-agent",
    )
}  # fmt: skip
HOST = {
    "two Host, equal", "two Host", "two Host, the other first", "Host ''", "Host ' -'", "Host ' other.example.net'",
    "Host ' www.example.com:81'", "Host ' www.example.com:'", "Host ' u@www.example.com'",
    "Host ' www.example.com:080'", "Host ' www.example.com, www.example.com'", "Host ' www.example.com x'",
}  # fmt: skip
SPELLED = {
    "authority @www.example.com", "authority www.example.com:080", "authority www.example.com:+80",
    "authority www.example.com:80x", "authority [www.example.com]",
}  # fmt: skip
WHITE = {
    repr(line) for line in ("X-A: b\r\n c", "X-A: b\r\n\tc", "X-A: b\r\n ", "X-A: b\nX-B: c")
} | {"folded Host", "a line feed ends the head", "a line feed ends the Host field"}  # fmt: skip
OCTETS = {repr(line) for line in ("X-A: b\1c", "X-A: b\x7fc", "X-A: b\xffc", "X-A: b\x0bc")}
OTHERS = {"150 more", repr("Transfer-Encoding: identity")}
LET_THROUGH = REPEATED | HOST | SPELLED | WHITE | OCTETS | OTHERS


def plain(path: bytes = b"/a") -> bytes:
    return (
        b"GET http://www.example.com"
        + path
        + b" HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
    )


def gateway_allows(request: bytes, scheme: str = "http") -> bool:
    """What the gateway's own reader and evaluator say of the same bytes."""
    try:
        head = parse_request_head(request)
    except Refused:
        return False
    if not isinstance(head, RequestHead) or head.scheme != ("http" if scheme == "http" else None):
        return False
    if head.host.text != NAME or head.port not in {None, 80 if scheme == "http" else 443}:
        return False
    facts = RequestFacts(
        head.method, scheme, head.host, 80 if scheme == "http" else 443, head.path, head.pairs,
        content_length=1 if head.chunked else head.content_length, uri_bytes=head.uri_bytes,
        header_bytes=head.head_bytes, upgrade=head.upgrade,
    )  # fmt: skip
    return POLICY.judge(facts).allowed


@pytest.fixture(autouse=True)
def origin_takes_many_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or what arrives would not be seen."""
    monkeypatch.setattr(http.client, "_MAXHEADERS", 1000)


def sent(world, request: bytes) -> list:
    before = len(world.seen)
    world.raw(WEB_TENANT, GATEWAY, 3128, request, seconds=0.6)
    return world.seen[before:]


def checked(reached: list, label: str) -> None:
    """Nothing hidden: one request, to the server that was judged, for the target that was judged."""
    assert len(reached) == 1
    (server, method, path, fields, body) = reached[0]
    assert (server.rpartition(":")[0], method, path, body) == ("93.184.216.34", "GET", "/a", b""), label
    assert fields["Host"] == NAME, label


@pytest.mark.parametrize("form", [*LINE, *AUTHORITY, *FIELDS])
def test_a_form_is_let_through_only_if_the_gateway_takes_it_or_it_is_listed_G8(world, form: str) -> None:
    request = (LINE | AUTHORITY | FIELDS)[form](plain())
    assert request != plain()
    allowed = gateway_allows(request)
    assert not (allowed and form in LET_THROUGH), "the gateway takes it: not for the list"
    reached = sent(world, request)
    if reached:
        assert allowed or form in LET_THROUGH
        checked(reached, form)
    else:
        assert form not in LET_THROUGH, "Squid refuses it: not for the list"


def test_what_both_take_is_served(world) -> None:
    for form in ("two of another", "90 more", "Host ' WWW.example.com'", "authority www.example.com:80"):
        request = (LINE | AUTHORITY | FIELDS)[form](plain())
        assert gateway_allows(request), form
        checked(sent(world, request), form)


def test_pairs_of_forms_too_G8(world) -> None:
    forms = LINE | AUTHORITY | FIELDS
    alone = {name for name, form in forms.items() if not gateway_allows(form(plain()))}
    chance = random.Random(8)
    passed = 0
    for _ in range(PAIRS):
        pair = chance.sample(sorted(forms), 2)
        try:
            request = forms[pair[1]](forms[pair[0]](plain()))
        except ValueError:  # the first took away what the second changes
            continue
        if reached := sent(world, request):
            passed += 1
            assert gateway_allows(request) or alone & set(pair) <= LET_THROUGH, pair
            checked(reached, str(pair))
    assert passed > 10


def test_inside_TLS_too_G8(world) -> None:
    """One tunnel for each form: what Squid takes for odd, it closes."""
    context = ssl.create_default_context(cafile=str(world.directory / "root.pem"))
    let_through = set()
    for name, form in (LINE | FIELDS).items():
        request = form(plain()).replace(b"http://www.example.com/", b"/", 1)
        before = len(world.seen)
        _told(world, context, request)
        if reached := world.seen[before:]:
            checked(reached, name)
            if not gateway_allows(request, "https"):
                let_through.add(name)
    assert let_through <= LET_THROUGH - {"Host ' other.example.net'", "two Host, the other first"}


CONNECT = b"CONNECT www.example.com:443 HTTP/1.1\r\nHost: www.example.com:443\r\n\r\n"


def _told(world, context: ssl.SSLContext, request: bytes, connect: bytes = CONNECT) -> bytes:
    with Entered(world.clients[WEB_TENANT]):
        connection = socket.create_connection((GATEWAY, 3128), timeout=1)
    with connection:
        connection.sendall(connect)
        if not connection.recv(4096).startswith(b"HTTP/1.1 200"):  # also where a page inside TLS says no
            return b""
        with context.wrap_socket(connection, server_hostname=NAME) as tunnel:
            tunnel.settimeout(0.6)
            received = b""
            try:
                tunnel.sendall(request)
                while chunk := tunnel.recv(65536):
                    received += chunk
            except OSError:
                pass
    return received


TUNNELS = {
    "plain": lambda r: r,
    "HTTP/1.0 without Host": lambda r: r.replace(b"1.1\r\nHost: www.example.com:443", b"1.0"),
    "HTTP/1.1 without Host": swap(b"Host: www.example.com:443\r\n", b""),
    "HTTP/1.2": swap(b"1.1", b"1.2"),
    "no version": swap(b" HTTP/1.1", b""),
    "Host without a port": swap(b":443\r\n\r", b"\r\n\r"),
    **{
        f"target {target.decode()}": swap(b"www.example.com:443 ", target + b" ")
        for target in (
            b"u@www.example.com:443", b"www.example.com:0443", b"www.example.com:+443", b"https://www.example.com/",
            b"www.example.com", b"www.example.com:443/", b"[www.example.com]:443", b"WWW.example.com:443", b"/",
        )
    },
    **{
        f"with {line.decode()}": swap(b"443\r\n\r", b"443\r\n" + line + b"\r\n\r")
        for line in (
            b"Content-Length: 5", b"Content-Length: 0", b"Transfer-Encoding: chunked", b"Host: other.example.net",
            b"Upgrade: h2c", b"Connection: host", b"Expect: x", b"X-A: b", b"Content_Length: 5",
        )
    },
    **{
        f"Host {host.decode()}": swap(b"Host: www.example.com:443", b"Host: " + host)
        for host in (b"other.example.net:443", b"www.example.com:80", b"u@www.example.com:443", b"WWW.example.com:443")
    },
}  # fmt: skip
TUNNELS_LET_THROUGH = {
    "target www.example.com:0443", "target www.example.com:+443", "target www.example.com", "target www.example.com:443/",
    "target [www.example.com]:443", "with Host: other.example.net", "Host other.example.net:443",
    "Host www.example.com:80", "Host u@www.example.com:443",
}  # fmt: skip


@pytest.mark.parametrize("form", TUNNELS)
def test_a_tunnel_too_G8(world, form: str) -> None:
    connect = TUNNELS[form](CONNECT)
    try:
        head = parse_request_head(connect)
        taken = isinstance(head, RequestHead) and head.authority is not None and not head.upgrade
    except Refused:
        taken = False
    context = ssl.create_default_context(cafile=str(world.directory / "root.pem"))
    before = len(world.seen)
    request = plain().replace(b"http://www.example.com/", b"/", 1)
    try:
        _told(world, context, request, connect)
    except OSError:
        assert not taken
    reached = world.seen[before:]
    if reached:
        checked(reached, form)
        assert taken or form in TUNNELS_LET_THROUGH
    else:
        assert form not in TUNNELS_LET_THROUGH


def test_the_list_is_that_of_the_handbook() -> None:
    """SECURITY.md says what Squid cannot be told."""
    text = " ".join((Path(__file__).parents[3] / "SECURITY.md").read_text().split())
    for said in (
        "a Host field, or several, that are not the target's", "a field twice that may stand once", "over 100 fields",
        "a field folded over lines", "a lone LF", "controls and octets over 127", "`Transfer-Encoding: identity`",
        "an authority with an empty userinfo, brackets round its name, or a port that is left away or has zeros",
    ):  # fmt: skip
        assert said in text, said
