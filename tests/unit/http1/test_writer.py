"""Heads written anew (what is sent for each request is in the vectors of test_head)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from appliance.http1.body import body_reader
from appliance.http1.framing import CHUNKED, UNTIL_CLOSE, BodyKind, Framing
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.response import ResponseHead, parse_response_head
from appliance.http1.writer import host_text, relayed_framing, serialise_request, serialise_response_head
from appliance.names import Authority, HostName

OK = Authority(HostName("ok.example"), 443)
HOST = "ok.example"


def request(data: bytes) -> RequestHead:
    head = parse_request_head(data)
    assert isinstance(head, RequestHead)
    return head


def response(data: bytes, method: str = "GET", *, upgrade: bool = False) -> ResponseHead:
    head = parse_response_head(data, method, upgrade_requested=upgrade)
    assert isinstance(head, ResponseHead)
    return head


@pytest.mark.parametrize(
    ("authority", "scheme", "value"),
    [
        (OK, "https", b"ok.example"),
        (OK, "http", b"ok.example:443"),
        (Authority(HostName("ok.example"), 80), "http", b"ok.example"),
        (Authority(IPv4Address("192.0.2.1"), 8080), "http", b"192.0.2.1:8080"),
        (Authority(IPv6Address("2001:db8::1"), 443), "https", b"[2001:db8::1]"),
    ],
)
def test_host_text(authority: Authority, scheme: str, value: bytes) -> None:
    assert host_text(authority, "http" if scheme == "http" else "https").encode() == value


def test_host_is_ours_and_not_the_caller_s() -> None:
    head = request(b"GET /a HTTP/1.1\r\nHost: other.example\r\n\r\n")
    assert serialise_request(head, HOST).startswith(b"GET /a HTTP/1.1\r\nHost: ok.example\r\n")


def test_extra_fields_replace() -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: br\r\nAccept: x\r\n\r\n")
    sent = serialise_request(head, HOST, ((b"accept-encoding", b"identity"),))
    assert sent == (b"GET / HTTP/1.1\r\nHost: ok.example\r\nAccept: x\r\naccept-encoding: identity\r\n\r\n")


@pytest.mark.parametrize("field", [(b"A:", b"b"), (b"A", b"b\r\nC: d"), (b"", b"b"), (b"A", b"\x00")])
def test_extra_fields_are_fields(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="no header field"):
        serialise_request(request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), HOST, (field,))


def test_upgrade_goes_on_only_when_told() -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert b"pgrade" not in serialise_request(head, HOST)
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in serialise_request(head, HOST, upgrade=True)


@pytest.mark.parametrize(
    ("data", "to_http_11", "framing", "sent"),
    [
        (
            b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nAlt-Svc: h3=x\r\nConnection: x-a\r\nX-A: b\r\nServer: s\r\n\r\n",
            True,
            Framing(BodyKind.LENGTH, 5),
            b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n",
            True,
            CHUNKED,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            False,
            UNTIL_CLOSE,
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        ),
        (
            b"HTTP/1.0 200 OK\r\n\r\n",
            True,
            CHUNKED,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            b"HTTP/1.1 599 X\r\n\r\n",
            True,
            CHUNKED,
            b"HTTP/1.1 599 \r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
    ],
)
def test_response(*, data: bytes, to_http_11: bool, framing: Framing, sent: bytes) -> None:
    head = response(data)
    assert relayed_framing(head, to_http_11=to_http_11) == framing
    assert serialise_response_head(head, keep_alive=True, framing=framing) == sent
    assert body_reader(response(sent).framing).done == body_reader(framing).done


def test_response_without_body_keeps_the_length_of_the_body_it_stands_for() -> None:
    head = response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD")
    assert serialise_response_head(head, keep_alive=True) == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    head = response(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    assert (
        serialise_response_head(head, keep_alive=False)
        == b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    )


def test_until_close_says_so() -> None:
    head = response(b"HTTP/1.1 200 OK\r\n\r\n")
    assert serialise_response_head(head, keep_alive=True).endswith(b"\r\nConnection: close\r\n\r\n")


def test_interim_and_switching_heads() -> None:
    head = response(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert (
        serialise_response_head(head, keep_alive=False) == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    )
    head = response(b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", upgrade=True)
    assert serialise_response_head(head, keep_alive=False) == (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
