"""Origins and clients that follow a script, byte by byte, and what a worker's memory does meanwhile."""

from __future__ import annotations

import socket
import socketserver
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loopback import NAME, Gateway

MEBIBYTE = 1 << 20
HEAD = f"GET /x HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
Script = Callable[[socket.socket], None]


def serve(gateway: Gateway, script: Script) -> list[bytes]:
    """Every connection to the plain origin goes to `script` after its request head was read; returns the heads."""
    heads: list[bytes] = []

    class Scripted(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data = b""
            while b"\r\n\r\n" not in data:
                block = self.request.recv(65536)
                if not block:
                    return
                data += block
            heads.append(data)
            with suppress(OSError):
                script(self.request)

    gateway.plain.RequestHandlerClass = Scripted
    return heads


def repeat(first: bytes, again: bytes, pause: float = 0.0) -> Script:
    """Sends `first`, then `again` until nobody takes it any more."""

    def script(sock: socket.socket) -> None:
        sock.sendall(first)
        while True:
            sock.sendall(again)
            time.sleep(pause)

    return script


def resident(gateway: Gateway) -> int:
    """Bytes of the worker's memory that are resident."""
    return int(Path(f"/proc/{gateway.pid}/statm").read_text().split()[1]) * 4096


@contextmanager
def memory_stays(gateway: Gateway, within: int = 24 * MEBIBYTE) -> Iterator[None]:
    before = resident(gateway)
    yield
    assert resident(gateway) - before < within


def drain(sock: socket.socket, most: int = 1 << 40) -> tuple[int, bool]:
    """Reads to the end: how many bytes came, and whether they were cut off by a reset."""
    size = 0
    try:
        while block := sock.recv(1 << 16):
            size += len(block)
            assert size <= most
    except ConnectionResetError:
        return size, True
    return size, False
