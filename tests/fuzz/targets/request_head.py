"""Request head and body: one request that llhttp and h11 read as we do, or a refusal; split anywhere (E1 to E12)."""

from __future__ import annotations

from appliance.verify.smuggling import REFUSALS, TAKEN
from tests.fuzz.agreement import check_request

VECTORS = tuple(b"\x07" + vector.request for vector in (*REFUSALS, *TAKEN) if len(vector.request) < 500)
SEEDS = (
    *VECTORS,
    b"\x01POST /a/../b?c=d HTTP/1.1\r\nHost: ok.example\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n",
    b"\x28POST / HTTP/1.1\r\nHost: ok.example\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"\x05CONNECT ok.example:443 HTTP/1.0\r\n\r\n\x16\x03\x01",
)
TOKENS = (
    b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"Host: ok.example\r\n", b"Connection: ", b"close",
    b"keep-alive", b"Upgrade: ", b"h2c", b"Expect: 100-continue\r\n", b"HTTP/1.1\r\n", b"HTTP/1.0", b"\r\n\r\n", b"GET /",
    b"POST ", b"CONNECT ", b"http://", b"%2e", b"%2F", b"%25", b"0\r\n\r\n", b"\r\n\t", b"\r\n ", b", ", b"identity",
)  # fmt: skip


def one(data: bytes) -> None:
    """The first octet says in what pieces the rest arrives."""
    if data:
        check_request(data[1:], data[0] % 40 + 1)
