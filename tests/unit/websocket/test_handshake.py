"""What opens a WebSocket, and the only answer to it (attack E13)."""

from __future__ import annotations

import pytest

from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.refused import Refused, UpstreamInvalid
from appliance.http1.response import ResponseHead, parse_response_head
from appliance.websocket.handshake import Handshake, asked, offered, verify_accepted

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
ASKS = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    f"Sec-WebSocket-Key: {KEY}",
)
ANSWERS = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Accept: {ACCEPT}")


def request(*lines: str, version: str = "1.1") -> RequestHead:
    head = parse_request_head("\r\n".join([f"GET / HTTP/{version}", "Host: a.net", *lines, "", ""]).encode())
    assert isinstance(head, RequestHead)
    return head


def response(*lines: str, version: str = "1.1") -> ResponseHead:
    raw = "\r\n".join([f"HTTP/{version} 101 Switching Protocols", *lines, "", ""]).encode()
    head = parse_response_head(raw, "GET", upgrade_requested=True)
    assert isinstance(head, ResponseHead)
    return head


def test_the_example_of_the_rfc() -> None:
    handshake = asked(request(*ASKS))
    assert handshake == Handshake(KEY.encode())
    assert handshake.accept == ACCEPT.encode()
    assert handshake.fields == ((b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Key", KEY.encode()))
    verify_accepted(response(*ANSWERS), handshake)
    verify_accepted(response("connection: UPGRADE", "upgrade: WebSocket", ANSWERS[2]), handshake)


def test_subprotocols_go_on_as_a_list_of_tokens() -> None:
    head = request(*ASKS, "Sec-WebSocket-Protocol: chat ,\tv2.x", "sec-websocket-protocol: y")
    assert offered(head) == ("chat", "v2.x", "y")
    handshake = asked(head)
    assert handshake.fields[2:] == ((b"Sec-WebSocket-Protocol", b"chat, v2.x, y"),)
    verify_accepted(response(*ANSWERS), handshake)
    verify_accepted(response(*ANSWERS, "Sec-WebSocket-Protocol: y"), handshake)
    for chosen in ("z", "Y", "chat, y", ""):
        with pytest.raises(UpstreamInvalid, match="subprotocol that was not offered"):
            verify_accepted(response(*ANSWERS, f"Sec-WebSocket-Protocol: {chosen}"), handshake)
    with pytest.raises(UpstreamInvalid):
        verify_accepted(response(*ANSWERS, *["Sec-WebSocket-Protocol: y"] * 2), handshake)


@pytest.mark.parametrize(
    "lines",
    [
        ASKS[1:],
        ("Connection: close", *ASKS[1:]),
        ASKS[:2],
        ASKS[:3],
        (*ASKS, ASKS[3]),
        (*ASKS, ASKS[2]),
        (*ASKS[:2], "Sec-WebSocket-Version: 8", ASKS[3]),
        (*ASKS[:2], "Sec-WebSocket-Version: 13, 8", ASKS[3]),
        *((*ASKS[:3], f"Sec-WebSocket-Key: {key}") for key in (
            "", "x", KEY[:-1], KEY + "=", "A" + KEY, KEY.replace("==", "=="[:1]), KEY.replace("Q==", "R=="),
            "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZS-ub25jZQ==", f"{KEY}, {KEY}",
        )),
        *((*ASKS, f"Sec-WebSocket-Protocol: {offer}") for offer in ("", "a,", "a b", "a, a", "a/b", '"a"')),
    ],
)  # fmt: skip
def test_a_handshake_that_is_not_strict_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as caught:
        asked(request(*lines))
    assert (caught.value.status, caught.value.reason) == (400, "websocket-handshake-invalid")


def test_http_1_0_knows_no_upgrade() -> None:
    with pytest.raises(Refused):
        asked(request(*ASKS, version="1.0"))
    with pytest.raises(UpstreamInvalid):
        verify_accepted(response(*ANSWERS, version="1.0"), asked(request(*ASKS)))


@pytest.mark.parametrize(
    "lines",
    [
        ANSWERS[1:],
        ("Connection: close", *ANSWERS[1:]),
        (ANSWERS[0], ANSWERS[2]),
        (ANSWERS[0], "Upgrade: h2c", ANSWERS[2]),
        (ANSWERS[0], "Upgrade: websocket, h2c", ANSWERS[2]),
        ANSWERS[:2],
        (*ANSWERS, ANSWERS[2]),
        (*ANSWERS[:2], f"Sec-WebSocket-Accept: {ACCEPT[:-1]}"),
        (*ANSWERS[:2], f"Sec-WebSocket-Accept: {ACCEPT.lower()}"),
        (*ANSWERS[:2], f"Sec-WebSocket-Accept: {KEY}"),
        (*ANSWERS, "Sec-WebSocket-Extensions: permessage-deflate"),
        (*ANSWERS, "Sec-WebSocket-Protocol: chat"),
    ],
)
def test_any_other_101_is_the_servers_fault(lines: tuple[str, ...]) -> None:
    with pytest.raises(UpstreamInvalid) as caught:
        verify_accepted(response(*lines), asked(request(*ASKS)))
    assert (caught.value.status, caught.value.reason) == (502, "websocket-not-accepted")
