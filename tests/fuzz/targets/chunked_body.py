"""Chunked bodies behind a good head, both ways; the reader keeps no more than one line (E2)."""

from __future__ import annotations

from appliance.http1.body import MAX_CHUNK_LINE, MAX_TRAILERS, ChunkedBody
from appliance.http1.refused import ProtocolFault
from tests.fuzz.agreement import check_request, check_response

REQUEST = b"POST / HTTP/1.1\r\nHost: ok.example\r\nTransfer-Encoding: chunked\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SEEDS = (
    b"\x015\r\nhello\r\n0\r\n\r\n",
    b"\x075\r\nhello\r\n5;a=b\r\nhello\r\n0\r\nX-T: a\r\nY: b\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"\x020000000000000005\r\nhello\r\n000\r\n\r\n",
    b"\x03ffffffffffffffff\r\nx",
    b"\x0310000000000000000\r\nx",
    b"\x045\nhello\r\n0\r\n\r\n",
    b'\x045 ;"x\r\n0"\r\nhello\r\n0\r\n\r\n',
    b"\x050\r\nContent-Length: 5\r\n\r\n",
    b"\x05-5\r\nhello\r\n+5\r\n0x5\r\n5_0\r\n",
    b"\x051\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n",
)  # fmt: skip
TOKENS = (
    b"\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b";a=b",
    b';a="\r\n"',
    b"X-T: a\r\n",
    b"ffffffff",
    b"\r\n0\r\n",
)


def one(data: bytes) -> None:
    """The first octet says in what pieces the rest arrives."""
    if not data:
        return
    size, body = data[0] % 40 + 1, data[1:]
    check_request(REQUEST + body, size)
    check_response(RESPONSE + body, size, "GET")
    reader, read = ChunkedBody(), 0
    try:
        for at in range(0, len(body), size):
            read += sum(map(len, reader.feed(body[at : at + size])))
            assert len(reader._line) <= max(MAX_TRAILERS, MAX_CHUNK_LINE) + size
    except ProtocolFault as fault:
        assert 400 <= fault.status < 500  # noqa: PT017 - not a test of pytest's
        _stays_broken(reader)
    assert read + len(reader.surplus) <= len(body)


def _stays_broken(reader: ChunkedBody) -> None:
    try:
        reader.feed(b"5\r\nhello\r\n0\r\n\r\n")
    except ProtocolFault:
        return
    raise AssertionError("a broken body came to life again")
