"""Response head and body of a hostile server: read as llhttp and h11 read what we pass on, or 502."""

from __future__ import annotations

from tests.fuzz.agreement import check_response

VERBS = ("GET", "HEAD", "POST")
SEEDS = (
    b"\x00HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"\x0aHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"\x07HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"\x31HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil the end",
    b'\x01HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: "x"\r\n\r\n',
    b"\x02HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    b"\x05HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
    b"\x05HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"\x05HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\nSet-Cookie: a=\xff\r\n\r\n",
)  # fmt: skip
TOKENS = (
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
    b"100 Continue\r\n\r\n", b"103 ", b"204 ", b"304 ", b"101 ", b"\r\n\r\n", b"0\r\n\r\n", b"gzip, chunked", b"\r\n ",
)  # fmt: skip


def one(data: bytes) -> None:
    """The first octet says in what pieces the rest arrives, and what had been asked."""
    if data:
        check_response(data[1:], data[0] % 40 + 1, VERBS[data[0] // 40 % 3])
