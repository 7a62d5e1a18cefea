"""A provider's side of a WebSocket: to every text it says who has asked, in two frames with a Ping between them."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from http.server import BaseHTTPRequestHandler

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING = 0x1, 0x8, 0x9


def wanted(request: BaseHTTPRequestHandler) -> bool:
    """Whether it asks for one."""
    return request.headers.get("Upgrade", "").lower() == "websocket"


def converse(request: BaseHTTPRequestHandler, authority: str) -> None:
    """Until the other side says Close, which is answered. Raises `OSError`."""
    key = request.headers.get("Sec-WebSocket-Key", "").encode("ascii")
    said = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    said.append(f"Sec-WebSocket-Accept: {b64encode(sha1(key + _GUID).digest()).decode()}")
    said.append(f"X-You-Are: {authority}")
    if "Sec-WebSocket-Protocol" in request.headers:
        said.append("Sec-WebSocket-Protocol: realtime")
    request.wfile.write("\r\n".join([*said, "", ""]).encode("ascii"))
    text = f"you are {authority}".encode("ascii")
    cut = len(text) - len(authority) // 3
    while True:
        opcode, payload = _read(request)
        if opcode == _CLOSE:
            request.wfile.write(_frame(_CLOSE, payload))
            return
        if opcode == _TEXT:
            first = payload + b"; " + text[:cut]
            request.wfile.write(_frame(_TEXT, first, final=False))
            request.wfile.write(_frame(_PING, b"between"))
            request.wfile.flush()
            request.wfile.write(_frame(0, text[cut:]))


def _read(request: BaseHTTPRequestHandler) -> tuple[int, bytes]:
    first, second = request.rfile.read(2)
    length = second & 127
    if length > 125:
        length = int.from_bytes(request.rfile.read(2 if length == 126 else 8), "big")
    mask = request.rfile.read(4)
    payload = request.rfile.read(length)
    return first & 15, bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload))


def _frame(opcode: int, payload: bytes, *, final: bool = True) -> bytes:
    size = len(payload)
    length = bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")
    return bytes((final << 7 | opcode,)) + length + payload
