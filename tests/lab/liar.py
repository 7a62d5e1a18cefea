"""A server of the lab that answers as no server may, and one that says byte for byte what it was asked.

Below `/canary/` the last segment of a path says how: one of `ANSWERS`, or `raw`; WebSockets are in
`tests.lab.switching`. On ports 80 and 443, a thread a
connection; after a lie the connection stays open, so that whatever the other side takes for its end is its own doing.
"""

from __future__ import annotations

import socketserver
import ssl
import warnings
from contextlib import suppress

from tests.lab import internet, switching
from tests.lab.certificates import AUTHORITY
from tests.lab.tls_server import TLSServer, context_of, serve

PATIENCE = 0.3  # seconds without a byte: then a request is complete, whatever it says of itself
OK = b"HTTP/1.1 200 OK\r\n"
LIE = b"Content-Length: 8\r\n\r\nsmuggled"
HONEST = OK + b"Content-Length: 7\r\n\r\nhonest\n"

ANSWERS = {
    b"honest": HONEST,
    b"switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nsmuggled",
    b"switch-bare": b"HTTP/1.1 101 Switching Protocols\r\n\r\nsmuggled",
    b"length-and-coding": OK + b"Transfer-Encoding: chunked\r\n" + LIE,
    b"two-lengths": OK + b"Content-Length: 3\r\n" + LIE,
    b"two-equal-lengths": OK + b"Content-Length: 8\r\n" + LIE,
    b"length-plus": OK + b"Content-Length: +8\r\n\r\nsmuggled",
    b"length-list": OK + b"Content-Length: 8, 8\r\n\r\nsmuggled",
    b"coding-identity": OK + b"Transfer-Encoding: identity\r\n\r\nsmuggled",
    b"coding-twice": OK
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nsmuggled\r\n0\r\n\r\n",
    b"interim-flood": b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + OK + LIE,
    b"fold": OK + b"X-A: b\r\n c\r\n" + LIE,
    b"nul": OK + b"X-A: \0\r\n" + LIE,
    b"bare-lf": OK + b"X-A: b\nX-C: d\r\n" + LIE,
    b"bare-cr": OK + b"X-A: b\rX-C: d\r\n" + LIE,
    b"space-before-colon": OK + b"X-A : b\r\n" + LIE,
    b"no-colon": OK + b"broken\r\n" + LIE,
    b"status-1000": b"HTTP/1.1 1000 OK\r\n" + LIE,
    b"status-600": b"HTTP/1.1 600 OK\r\n" + LIE,
    b"http-2": b"HTTP/2.0 200 OK\r\n" + LIE,
    b"http-9": b"HTTP/0.9 200 OK\r\n" + LIE,
    b"no-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\nsmuggled",
    b"leading-crlf": b"\r\n" + OK + LIE,
    b"huge-head": OK + b"X-A: " + b"b" * 100_000 + b"\r\n" + LIE,
    b"many-fields": OK + b"".join(b"X-%d: y\r\n" % number for number in range(300)) + LIE,
    b"no-content-with-body": b"HTTP/1.1 204 No Content\r\n" + LIE,
    b"nominates-length": OK + b"Connection: content-length\r\n" + LIE,
    b"surplus": HONEST + OK + LIE,
}


class Lies(socketserver.BaseRequestHandler):
    """One connection, one request after the other."""

    def handle(self) -> None:
        with suppress(OSError):
            while request := self._request():
                path = request.split(b" ", 2)[1] if request.count(b" ") > 1 else b""
                if path.startswith(switching.PLACE):
                    switching.serve(self.request, request, str(self.client_address[0]))
                    break
                name = path.rpartition(b"/")[2]
                self.request.sendall(_said(request) if name == b"raw" else ANSWERS.get(name, HONEST))

    def _request(self) -> bytes:
        got = b""
        self.request.settimeout(60)
        while True:
            try:
                data = self.request.recv(65536)
            except TimeoutError:
                return got
            if not data:
                return b""
            got += data
            self.request.settimeout(PATIENCE if b"\r\n\r\n" in got else 60)


def _said(request: bytes) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n%b" % (len(request), request)


def _old() -> ssl.SSLContext:
    context = context_of(internet.OLD_TLS)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def _asking() -> ssl.SSLContext:
    context = context_of(internet.ASKS_WHO)
    context.maximum_version = (
        ssl.TLSVersion.TLSv1_2
    )  # in 1.3 a client would hear of it after the handshake only
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(AUTHORITY)
    return context


def main() -> None:
    """Serve until killed."""
    serve(
        [
            TLSServer((internet.LIAR.address, 80), Lies, None),
            TLSServer((internet.LIAR.address, 443), Lies, context_of(internet.LIAR)),
            TLSServer((internet.OLD_TLS.address, 443), Lies, _old()),
            TLSServer((internet.ASKS_WHO.address, 443), Lies, _asking()),
        ]
    )


if __name__ == "__main__":
    main()
