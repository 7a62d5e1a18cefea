"""A gateway process with origins behind it, and clients with source addresses of their choice."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from weakref import WeakKeyDictionary

from origin import Authority, Origin

NAME = "origin.site-under-test.net"
OTHER = "other.site-under-test.net"
PRIVATE = "inside.site-under-test.net"
WRONG = "wrong-host.site-under-test.net"
OPAQUE = "opaque.site-under-test.net"
POSTING = "upload.site-under-test.net"


class Gateway:
    """The process, what it was told, and how to reach it. `address` is also where its origins are."""

    def __init__(self, directory: Path, **config) -> None:
        low = os.urandom(2)
        self.prefix = f"127.{64 + low[0] % 128}.{low[1]}"
        self.address = f"{self.prefix}.10"
        self.acme = f"{self.prefix}.2"
        self.beta = f"{self.prefix}.3"
        self.authority = Authority()
        self.plain = Origin(self.address)
        self.tls = Origin(self.address, self.authority.context(directory, NAME, OTHER, POSTING, OPAQUE))
        self.audit = directory / "audit"
        self._sockets: list[socket.socket] = []
        self._old = 0
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("gateway_process.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        ready = self.tell({
            "names": {
                name: [self.address] for name in (NAME, OTHER, WRONG, OPAQUE, POSTING)
            } | {PRIVATE: [self.address, f"{self.prefix}.66"]},
            "ports": {"80": self.plain.port, "443": self.tls.port},
            "tenants": {self.acme: "acme", self.beta: "beta"},
            "audit": str(self.audit),
            "upstream_ca": str(self.authority.write(directory / "authority.pem")),
            "listen": [[self.address, port] for port in (80, 443, 3128)],
            "posting": [POSTING],
            "passthrough": [OPAQUE],
        } | config)  # fmt: skip
        self.root = ready["root"]
        self.pid = self._process.pid

    def tell(self, message):
        self.send(message)
        return self.hear()

    def send(self, message):
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def hear(self):
        return json.loads(self._process.stdout.readline())

    def stats(self):
        return self.tell({"op": "stats"})

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.root)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def connect(self, port: int, source: str | None = None) -> socket.socket:
        self._sockets.append(socket.create_connection((self.address, port), 10, (source or self.acme, 0)))
        return self._sockets[-1]

    def secure(self, name: str, port: int = 443, source: str | None = None) -> ssl.SSLSocket:
        return self.wrap(self.connect(port, source), name)

    def wrap(self, sock: socket.socket, name: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        self._sockets.append((context or self.trust()).wrap_socket(sock, server_hostname=name))
        return self._sockets[-1]

    def proxy(self, target: str, source: str | None = None) -> socket.socket:
        """A tunnel by CONNECT; fails unless it is opened."""
        sock = self.connect(3128, source)
        sock.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = sock.recv(1)
            assert byte, head
            head += byte
        assert head.startswith(b"HTTP/1.1 200 "), head
        return sock

    def get(self, path: str = "/hello", host: str = NAME, *, sock: socket.socket | None = None, **options):
        """One request on a connection (a fresh plain one by default) → `Answer`."""
        sock = sock or self.connect(80)
        method = options.pop("method", "GET")
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *options.pop("headers", ())]
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + options.pop("body", b""))
        return read_answer(sock, method)

    def records(self, count: int, kind: str | None = None) -> list[dict]:
        """The audit records so far; waits until there are `count` of the kind."""
        deadline = time.monotonic() + 5
        while True:
            found = [record for record in self._written()[self._old :] if kind in (None, record["kind"])]
            if len(found) >= count:
                assert len(found) == count, found
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.02)

    def _written(self) -> list[dict]:
        return [
            json.loads(line)
            for file in sorted(self.audit.rglob("*.jsonl"))
            for line in file.read_bytes().split(b"\n")
            if line.strip(b"\0")
        ]

    def hang_up(self, *which: socket.socket) -> None:
        """Close these connections, by default all of the test."""
        for sock in which or self._sockets:
            reader = _readers.pop(sock, None)
            if reader is not None:
                reader._file.close()
            sock.close()
        if not which:
            self._sockets.clear()

    def as_new(self) -> None:
        """Forget what earlier tests did."""
        self.hang_up()
        self.tell({"op": "policy"})
        deadline = time.monotonic() + 10
        while self.tell({"op": "forget"})["connections"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for origin in (self.plain, self.tls):
            origin.seen.clear()
            origin.connections = origin.written = 0
        self._old = len(self._written())

    def close(self) -> None:
        self.hang_up()
        self._process.stdin.close()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self.plain.shutdown()
            self.plain.server_close()
            self.tls.shutdown()
            self.tls.server_close()


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()
        self.closes = response.will_close

    @property
    def reason(self) -> str:
        assert self.headers["Content-Type"] == "application/problem+json"
        return json.loads(self.body)["reason"]


class _Reader:
    """One buffer for all answers on a connection, so that pipelined ones are not lost."""

    def __init__(self, sock: socket.socket) -> None:
        self._file = sock.makefile("rb")

    def makefile(self, mode: str) -> _Reader:
        return self

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def close(self) -> None:
        """`http.client` is done with one answer."""


_readers: WeakKeyDictionary[socket.socket, _Reader] = WeakKeyDictionary()


def _reader(sock: socket.socket) -> _Reader:
    if sock not in _readers:
        _readers[sock] = _Reader(sock)
    return _readers[sock]


def read_answer(sock: socket.socket, method: str = "GET") -> Answer:
    response = http.client.HTTPResponse(_reader(sock), method=method)
    response.begin()
    return Answer(response)
