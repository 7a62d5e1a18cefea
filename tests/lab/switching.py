"""What the liar does with a WebSocket: takes part as it should, or in a way that no server may.

Below `/canary/ws/` the next segment of a path says how: see `HANDSHAKES`, `FRAMES` and `serve`. What a client sends is
read as leniently as can be, masked or not, and each frame of data is on record beside the web servers' requests, as
one of the method FRAME for the path of the WebSocket and the frame's payload: what a reader behind the gateway got.
"""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from hashlib import sha1

from tests.lab import internet, web

PLACE = b"/canary/ws/"
SUBPROTOCOL = "chat"
LIE = b"smuggled"
SECONDS = 60.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n"
_USUAL = b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
_CLOSE = b"\x88\x02\x03\xe8"  # 1000

# What stands where a right answer to the handshake should; ACCEPT is the right Sec-WebSocket-Accept.
HANDSHAKES = {
    b"wrong-accept": _SWITCH + _USUAL + b"Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n\r\n",
    b"no-accept": _SWITCH + _USUAL + b"\r\n",
    b"two-accepts": _SWITCH + _USUAL + b"ACCEPTACCEPT\r\n",
    b"extension": _SWITCH + _USUAL + b"ACCEPTSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    b"subprotocol": _SWITCH + _USUAL + b"ACCEPTSec-WebSocket-Protocol: mqtt\r\n\r\n",
    b"other-protocol": _SWITCH + b"Upgrade: tcp\r\nConnection: Upgrade\r\nACCEPT\r\n",
    b"no-connection": _SWITCH + b"Upgrade: websocket\r\nACCEPT\r\n",
    b"http-1-0": _SWITCH.replace(b"1.1", b"1.0") + _USUAL + b"ACCEPT\r\n",
}

# What a server may not send, behind a right handshake.
FRAMES = {
    b"masked": b"\x81\x84smug\x81\x02le",  # two frames to who takes the mask for payload
    b"reserved-bit": b"\xc1\x08" + LIE,
    b"reserved-opcode": b"\x83\x08" + LIE,
    b"ping-in-pieces": b"\x09\x08" + LIE,
    b"long-ping": b"\x89\x7e\0\x80" + LIE * 16,
    b"long-form": b"\x81\x7e\0\x08" + LIE,
    b"continues-nothing": b"\x80\x08" + LIE,
    b"close-code": b"\x88\x0a\x03\xee" + LIE,  # 1006 is never in a frame
    b"http-answer": b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n" + LIE,
}


def serve(sock: socket.socket, request: bytes, sender: str) -> None:
    """One WebSocket to its end; `request` is its head, with what came behind it. Raises `OSError`."""
    head, _, behind = request.partition(b"\r\n\r\n")
    path = head.split(b" ", 2)[1]
    how = path.removeprefix(PLACE).partition(b"/")[0]
    record(sender, head.split(b" ", 1)[0].decode("latin-1"), path)
    sock.settimeout(SECONDS)
    fields = [line.partition(b":")[::2] for line in head.split(b"\r\n")[1:]]
    asked = {name.lower(): value.strip() for name, value in fields}
    accept = b64encode(sha1(asked.get(b"sec-websocket-key", b"") + _GUID).digest())
    right = b"Sec-WebSocket-Accept: " + accept + b"\r\n"
    if b"upgrade" not in asked:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhonest\n")
        return
    if how in HANDSHAKES:
        sock.sendall(HANDSHAKES[how].replace(b"ACCEPT", right) + b"\x81\x08" + LIE)
        _wait(sock)
        return
    chosen = b"Sec-WebSocket-Protocol: chat\r\n" if b"sec-websocket-protocol" in asked else b""
    sock.sendall(_SWITCH + _USUAL + right + chosen + b"\r\n")
    if how in FRAMES:
        sock.sendall(FRAMES[how])
    elif how == b"fields":
        names = sorted(name for name in asked if name.startswith(b"sec-"))
        said = b" ".join(name.removeprefix(b"sec-websocket-") for name in names)
        sock.sendall(bytes((0x81, len(said))) + said + _CLOSE)
    elif how == b"raw":
        data = (behind or sock.recv(65536)).hex().encode()[:120]
        sock.sendall(bytes((0x81, len(data))) + data + _CLOSE)
    else:
        _echo(sock, path, behind, sender)
        return
    _wait(sock)


def _wait(sock: socket.socket) -> None:
    """Whatever the other side takes for the end is its own doing."""
    while sock.recv(65536):
        continue


def _echo(sock: socket.socket, path: bytes, behind: bytes, sender: str) -> None:
    """Say every frame back as it should be written; answer Close by Close."""
    reader = sock.makefile("rb")
    unread = behind

    def exactly(count: int) -> bytes:
        nonlocal unread
        piece, unread = unread[:count], unread[count:]
        return piece + reader.read(count - len(piece)) if len(piece) < count else piece

    while len(head := exactly(2)) == 2:
        length = head[1] & 127
        written = bytes((length,))
        if length > 125:
            written += (extended := exactly(2 if length == 126 else 8))
            length = int.from_bytes(extended, "big")
        mask = exactly(4) if head[1] & 128 else bytes(4)
        payload = bytes(octet ^ mask[index % 4] for index, octet in enumerate(exactly(length)))
        if head[0] & 15 < 8:
            record(sender, "FRAME", path + b"/" + payload[:100])
        sock.sendall(head[:1] + written + payload)
        if head[0] & 15 == 8:
            return


def record(sender: str, method: str, path: bytes) -> None:
    """One more line of the web servers' record (see `tests.lab.evidence.Requests`)."""
    line = {"from": sender, "server": internet.LIAR.name, "method": method, "uri": path.decode("latin-1")}
    with web.ACCESS_LOG.open("a", encoding="ascii") as log:
        log.write(json.dumps(line) + "\n")
