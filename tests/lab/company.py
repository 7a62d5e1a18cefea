"""A company's proxy in the lab, at a private address: opens by CONNECT whatever it is asked for, and says so.

It is started when somebody first asks for it (see `tests.lab.setup`), and ends with the lab.
"""

from __future__ import annotations

import json
import select
import socket
import socketserver
import sys
from contextlib import suppress

from tests.lab import internet

ADDRESS, PORT = "10.8.0.6", 3128
LOG = internet.STATE / "uplink-proxy.jsonl"
SECONDS = 30.0


class Tunnel(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        with suppress(OSError):
            self.request.settimeout(SECONDS)
            got = b""
            while b"\r\n\r\n" not in got:
                piece = self.request.recv(65536)
                if not piece:
                    return
                got += piece
            head, _, behind = got.partition(b"\r\n\r\n")
            authority = [*head.split(b" "), b""][1].decode("latin-1")
            _record(str(self.client_address[0]), authority)
            if not head.startswith(b"CONNECT "):
                self.request.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                return
            host, _, port = authority.rpartition(":")
            with socket.create_connection((dict(internet.HOSTS).get(host, host), int(port)), 5) as onward:
                self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                onward.sendall(behind)
                _carry(self.request, onward)


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Bytes both ways until one side ends."""
    onwards = {one: other, other: one}
    while True:
        for ready in select.select(list(onwards), [], [], SECONDS)[0]:
            piece = ready.recv(65536)
            if not piece:
                return
            onwards[ready].sendall(piece)


def _record(sender: str, authority: str) -> None:
    with LOG.open("a", encoding="ascii") as log:
        log.write(json.dumps({"from": sender, "authority": authority}) + "\n")


class Proxy(socketserver.ThreadingTCPServer):
    """Listens."""

    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Who goes away, or asks for what is not there, gets nothing."""


def main() -> None:
    """Serve until killed."""
    with Proxy((ADDRESS, PORT), Tunnel) as proxy:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        proxy.serve_forever()


if __name__ == "__main__":
    main()
