"""WebSockets through a real worker, plain and inside TLS: by rule, as frames, slowly, and to their end (E13)."""

from __future__ import annotations

import socket
import socketserver
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha1
from pathlib import Path

import pytest
from loopback import NAME, Gateway, read_answer

RULE = f"rules: [{{name: live, hosts: [{NAME}], schemes: [http, https], paths: [/live], upgrade: websocket}}]"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ASK = (
    f"GET /live HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()
Script = Callable[[socket.socket], None]


def frame(opcode: int, payload: bytes = b"", mask: bytes | None = b"\x11\x22\x33\x44") -> bytes:
    size = len(payload)
    length = (
        bytes([size])
        if size < 126
        else b"\x7e" + size.to_bytes(2, "big")
        if size < 65536
        else b"\x7f" + size.to_bytes(8, "big")
    )
    if mask is None:
        return bytes([128 | opcode]) + length + payload
    masked = bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload))
    return bytes([128 | opcode, 128 | length[0]]) + length[1:] + mask + masked


def exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        block = sock.recv(count - len(data))
        if not block:
            raise EOFError(data)
        data += block
    return data


def read_frame(sock: socket.socket) -> tuple[int, bytes]:
    """Opcode and payload, unmasked where it was masked."""
    first, second = exactly(sock, 2)
    size = second & 127
    if size > 125:
        size = int.from_bytes(exactly(sock, 2 if size == 126 else 8), "big")
    mask = exactly(sock, 4) if second & 128 else bytes(4)
    payload = exactly(sock, size)
    return first & 15, bytes(octet ^ mask[i % 4] for i, octet in enumerate(payload)) if any(mask) else payload


def echo(sock: socket.socket) -> None:
    """A server as good as any: says back what it hears, answers Close by Close."""
    while True:
        opcode, payload = read_frame(sock)
        sock.sendall(frame(opcode, payload, None))
        if opcode == 8:
            return


def serve(gateway: Gateway, script: Script, *, answer: bytes | None = None) -> list[bytes]:
    """Both origins switch protocols, then go on with `script`; returns the heads that they got."""
    heads: list[bytes] = []

    class Switching(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                octet = self.request.recv(1)
                if not octet:
                    return
                head += octet
            heads.append(head)
            key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
            accept = b64encode(sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
            switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            with suppress(OSError, EOFError):
                self.request.sendall(answer or switch + accept + b"\r\n\r\n")
                script(self.request)

    gateway.plain.RequestHandlerClass = gateway.tls.RequestHandlerClass = Switching
    return heads


def opened(gateway: Gateway, *, secure: bool = False) -> socket.socket:
    sock = gateway.secure(NAME) if secure else gateway.connect(80)
    sock.sendall(ASK)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(sock, 1)
    assert head.startswith(b"HTTP/1.1 101 "), head
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    sock.settimeout(10)
    return sock


def told(sock: socket.socket) -> tuple[int, str]:
    """The Close frame that ends it, and that it ends."""
    opcode, payload = read_frame(sock)
    assert opcode == 8
    assert sock.recv(1) == b""
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


@pytest.mark.parametrize("secure", [False, True])
def test_frames_go_both_ways_and_the_end_is_on_record(start, secure) -> None:
    gateway = start(rules=RULE)
    heads = serve(gateway, echo)
    sock = opened(gateway, secure=secure)
    for opcode, payload in ((1, b"hello"), (9, b"ping"), (2, bytes(range(256)) * 2000), (1, b"")):
        sock.sendall(frame(opcode, payload))
        assert read_frame(sock) == (opcode, payload)
    sock.sendall(frame(8, b"\x03\xe8bye"))
    assert told(sock) == (1000, "bye")
    begun, ended = gateway.records(2)
    assert begun["request_id"] == ended["request_id"]
    assert [record["status"] for record in (begun, ended)] == [101, 101]
    assert (ended["outcome"], ended["reason"]) == ("allowed", "allowed-by-rule")
    assert ended["detail"] == "The WebSocket ended with code 1000."
    assert ended["bytes_to_upstream"] > 512_000 < ended["bytes_to_client"]
    assert b"Sec-WebSocket-Extensions" not in heads[0]
    assert gateway.stats()["pooled"] == 0


def test_without_the_rule_nothing_is_dialled_and_with_it_nothing_else_is_upgraded(start) -> None:
    gateway = start(rules=RULE)
    heads = serve(gateway, echo)
    for change, status, reason in (
        ((b"/live", b"/else"), 403, "upgrade-not-allowed"),
        ((b"Upgrade: websocket", b"Upgrade: h2c"), 400, "h2c-upgrade"),
        ((b"Upgrade: websocket", b"Upgrade: tcp"), 403, "upgrade-not-allowed"),
        ((b"Version: 13", b"Version: 12"), 400, "websocket-handshake-invalid"),
    ):
        sock = gateway.connect(80)
        sock.sendall(ASK.replace(*change))
        answer = read_answer(sock)
        assert (answer.status, answer.reason, answer.closes) == (status, reason, status == 400)
    assert gateway.stats()["dialled"] == heads == []


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("lie", [b"Sec-WebSocket-Accept: c3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"Sec-Other: x"])
def test_a_wrong_accept_is_502_and_a_close(start, lie, secure) -> None:
    gateway = start(rules=RULE)
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    serve(gateway, echo, answer=head + lie + b"\r\n\r\n" + frame(1, b"canary", None))
    sock = gateway.secure(NAME) if secure else gateway.connect(80)
    sock.sendall(ASK)
    answer = read_answer(sock)
    assert (answer.status, answer.reason, answer.closes) == (502, "upstream-protocol-error", True)
    assert sock.recv(1) == b""
    assert gateway.records(1)[0]["outcome"] == "failed"


@pytest.mark.parametrize("secure", [False, True])
def test_it_is_no_raw_tunnel(start, secure) -> None:
    gateway = start(rules=RULE)
    got = []

    def listen(sock: socket.socket) -> None:
        while block := sock.recv(65536):
            got.append(block)
            sock.sendall(frame(1, b"heard", None))

    serve(gateway, listen)
    sock = opened(gateway, secure=secure)
    sock.sendall(frame(2, b"SSH-2.0", mask=bytes(4)))
    assert read_frame(sock) == (1, b"heard")
    sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    assert told(sock) == (1002, "websocket-frame-invalid")
    assert gateway.records(2)[1]["outcome"] == "denied"
    assert len(got) == 1
    assert got[0].startswith(b"\x82\x87")
    assert b"SSH" not in got[0]  # the container chose no mask; the server sees ours


@pytest.mark.parametrize("secure", [False, True])
def test_a_policy_without_the_rule_ends_it_g5(start, secure) -> None:
    gateway = start(rules=RULE)
    serve(gateway, echo)
    sock = opened(gateway, secure=secure)
    gateway.tell({"op": "policy", "generation": "two", "rules": RULE})
    sock.sendall(frame(1, b"still"))
    assert read_frame(sock) == (1, b"still")
    gateway.tell({"op": "policy", "generation": "three", "rules": None})
    assert told(sock) == (1008, "policy-changed")
    assert gateway.records(2)[1]["reason"] == "policy-changed"


def test_a_server_that_does_not_read_holds_the_container_back(start) -> None:
    gateway = start(rules=RULE, caps={"request_body_bytes": 1 << 40})
    serve(gateway, lambda sock: time.sleep(20))
    before = int(Path(f"/proc/{gateway.pid}/statm").read_text().split()[1]) * 4096
    sock = opened(gateway)
    sock.setblocking(False)
    data, quiet, sent = frame(2, bytes(1 << 16)), 0, 0
    while quiet < 40:
        try:
            sent += sock.send(data[sent % len(data) :])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.02)
        assert sent < 64 << 20
    assert int(Path(f"/proc/{gateway.pid}/statm").read_text().split()[1]) * 4096 - before < 24 << 20


def test_a_container_that_does_not_read_stops_the_server(start) -> None:
    gateway = start(rules=RULE)
    sent = []

    def flood(sock: socket.socket) -> None:
        data = frame(2, bytes(1 << 16), None)
        while True:
            sock.sendall(data)
            sent.append(len(data))

    serve(gateway, flood)
    opened(gateway)
    time.sleep(1.0)
    count = len(sent)
    time.sleep(0.5)
    assert len(sent) == count
    assert sum(sent) < 60_000_000


def test_idle_ones_end_and_draining_waits_for_none(start) -> None:
    gateway = start(rules=RULE, limits={"tunnel_idle_seconds": 1.0})
    serve(gateway, echo)
    sock = opened(gateway)
    assert told(sock) == (1001, "tunnel-idle")
    sock.close()
    sock = opened(gateway)
    begun = time.monotonic()
    gateway.send({"op": "drain"})
    assert told(sock) in {(1001, "draining"), (1001, "tunnel-idle")}
    sock.close()
    assert gateway.hear() == {"drained": True}
    assert time.monotonic() - begun < 10
