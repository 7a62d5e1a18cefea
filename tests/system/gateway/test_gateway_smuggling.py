"""The smuggling gate by bytes, through a real worker: every row of the table, plain and inside TLS (E1 to E12).

What is refused is refused with its typed page and a close, whatever stands behind it in the same packet; what is
taken reaches the origin in its canonical octets; and no server's ambiguous answer reaches the container.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from loopback import NAME, POSTING, Gateway, read_answer
from scripted import serve

from appliance.verify.smuggling import REFUSALS, TAKEN, Refusal, Taken

SMUGGLED = f"GET /smuggled HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()

# The gate of the gateway reads more than the table's, so that the policy's own caps are named; and a policy rule
# may allow %2F.
BY_POLICY = {
    "request line over its cap": (414, "uri-too-long"),
    "head over its cap": (431, "headers-too-large"),
    "path b'/a%2fb'": (403, "path-not-allowed"),
    "path b'/a%2Fb'": (403, "path-not-allowed"),
}
LONGER = {"request line without end": b"a" * 40_000, "method without end": b"A" * 40_000}


def sent(row: Refusal) -> bytes:
    data = row.request.replace(b"ok.example", NAME.encode()) + LONGER.get(row.name, b"")
    return data + SMUGGLED if data.endswith(b"\r\n\r\n") else data


def what_became(sock: socket.socket, data: bytes) -> tuple[int, str, bool]:
    """Status, reason, and whether nothing came behind the page."""
    with suppress(ConnectionResetError, BrokenPipeError):
        sock.sendall(data)
    answer = read_answer(sock, "HEAD" if data.startswith(b"HEAD ") else "GET")
    return answer.status, answer.reason, answer.closes and sock.recv(1) == b""


@pytest.mark.parametrize("secure", [False, True])
def test_every_row_is_refused_with_its_reason_and_nothing_behind_it_is_read(gateway, secure) -> None:
    wrong = []
    for row in REFUSALS:
        sock = gateway.secure(NAME) if secure else gateway.connect(80)
        sock.settimeout(5)
        status, reason = BY_POLICY.get(row.name, (row.status, row.reason))
        expected = (status, reason, row.name not in BY_POLICY)
        if row.name in BY_POLICY:
            with suppress(ConnectionResetError):
                sock.sendall(sent(row).removesuffix(SMUGGLED))
            answer = read_answer(sock)
            found = (answer.status, answer.reason, answer.closes)
        else:
            found = what_became(sock, sent(row))
        if found != expected:
            wrong.append((row.name, found, expected))
        gateway.hang_up(sock)
    assert wrong == []
    assert gateway.plain.seen == gateway.tls.seen == []
    stats = gateway.stats()
    assert (stats["asked"] if not secure else stats["dialled"]) == []
    assert len(gateway.records(len(REFUSALS))) == len(REFUSALS)


NOT_THE_GATES = {
    "hop-by-hop and nominated fields removed": "upgrade-not-allowed",
    "unknown method": "method-unknown",
}
BODIES = {"length": b"hello", "chunked": b"5\r\nhello\r\n0\r\n\r\n"}


@pytest.mark.parametrize("row", TAKEN, ids=lambda row: row.name)
def test_what_is_taken_reaches_the_origin_in_canonical_octets(gateway, row: Taken) -> None:
    host = POSTING if row.request.startswith(b"POST") else NAME
    request = row.request.replace(b"OK.example", host.upper().encode()).replace(b"ok.example", host.encode())
    body = BODIES.get(row.name, b"")
    was = gateway.plain.RequestHandlerClass
    rest = []

    def script(sock: socket.socket) -> None:
        while sum(map(len, rest)) + len(heads[-1].partition(b"\r\n\r\n")[2]) < len(body):
            rest.append(sock.recv(1000))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    try:
        heads = serve(gateway, script)
        sock = gateway.connect(80)
        sock.sendall(request + body)
        if b"100-continue" in request:
            assert sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        answer = read_answer(sock)
        if row.name in NOT_THE_GATES:
            assert answer.reason == NOT_THE_GATES[row.name]
            assert heads == []
        else:
            assert answer.body == b"ok"
            assert b"".join([*heads, *rest]) == row.forwarded.replace(b"ok.example", host.encode()) + body
    finally:
        gateway.plain.RequestHandlerClass = was


def raw(sock: socket.socket) -> bytes:
    data = b""
    with suppress(ConnectionResetError):
        while block := sock.recv(65536):
            data += block
    return data


CHUNKS = b'5;a=b;c="d"\r\nhello\r\n00A;x\r\n0123456789\r\n0;last\r\nX-Trailer: t\r\nConnection: close\r\n\r\n'
WRITTEN_ANEW = b"5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n"


def test_extensions_and_trailers_of_a_request_are_dropped(gateway) -> None:
    was = gateway.plain.RequestHandlerClass
    got = []

    def script(sock: socket.socket) -> None:
        while not b"".join([*heads, *got]).endswith(b"0\r\n\r\n"):
            got.append(sock.recv(1000))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    try:
        heads = serve(gateway, script)
        headers = ["Transfer-Encoding: chunked", "Trailer: X-Trailer"]
        answer = gateway.get("/", host=POSTING, method="POST", headers=headers, body=CHUNKS)
        assert answer.body == b"ok"
        head = f"POST / HTTP/1.1\r\nHost: {POSTING}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        assert b"".join([*heads, *got]) == head + WRITTEN_ANEW
    finally:
        gateway.plain.RequestHandlerClass = was


def test_and_those_of_an_answer(gateway) -> None:
    was = gateway.plain.RequestHandlerClass
    try:
        serve(
            gateway,
            lambda sock: sock.sendall(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\nKeep-Alive: 5\r\nAlt-Svc: h2=x\r\n\r\n"
                + CHUNKS
            ),
        )
        sock = gateway.connect(80)
        sock.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        assert (
            raw(sock)
            == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + WRITTEN_ANEW
        )
    finally:
        gateway.plain.RequestHandlerClass = was


ANSWERS = {
    "length and coding": b"Content-Length: 2\r\nTransfer-Encoding: chunked",
    "coding and length": b"Transfer-Encoding: chunked\r\nContent-Length: 2",
    "length twice": b"Content-Length: 2\r\nContent-Length: 2",
    "length twice, different": b"Content-Length: 2\r\nContent-Length: 20",
    "a list of lengths": b"Content-Length: 2, 2",
    "a signed length": b"Content-Length: +2",
    "a hexadecimal length": b"Content-Length: 0x2",
    "an unknown coding": b"Transfer-Encoding: xchunked",
    "two codings": b"Transfer-Encoding: gzip, chunked",
    "coding twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "obs-fold": b"X-A: b\r\n c: d",
    "space before colon": b"Content-Length : 2",
    "bare LF": b"X-A: b\nContent-Length: 2",
    "bare CR": b"X-A: b\rContent-Length: 2",
    "NUL": b"X-A: b\0",
    "no token": b"X(A: b",
    "Connection names Content-Length": b"Connection: content-length\r\nContent-Length: 2",
}
HEADS = {
    "HTTP/1.2": b"HTTP/1.2 200 OK",
    "HTTP/2": b"HTTP/2 200 OK",
    "lower case": b"http/1.1 200 OK",
    "no status": b"HTTP/1.1",
    "status 600": b"HTTP/1.1 600 x",
    "status 099": b"HTTP/1.1 099 x",
    "a leading line": b"\r\nHTTP/1.1 200 OK",
    "unsolicited 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade",
    "101 without anything": b"HTTP/1.1 101 x",
    "100 with a body": b"HTTP/1.1 100 Continue\r\nContent-Length: 5",
    "204 with a body": b"HTTP/1.1 204 x\r\nContent-Length: 5",
    "SSH": b"SSH-2.0-x",
}
RESPONSES = HEADS | {name: b"HTTP/1.1 200 OK\r\n" + lines for name, lines in ANSWERS.items()}


@pytest.mark.parametrize("name", RESPONSES)
def test_no_ambiguous_answer_is_passed_on(gateway: Gateway, name) -> None:
    was = gateway.plain.RequestHandlerClass
    try:
        serve(
            gateway, lambda sock: sock.sendall(RESPONSES[name] + b"\r\n\r\nokHTTP/1.1 200 OK\r\n\r\npoison")
        )
        sock = gateway.connect(80)
        answer = gateway.get(sock=sock)
        assert (answer.status, answer.reason) == (502, "upstream-protocol-error")
        assert b"poison" not in answer.body
        assert gateway.stats()["pooled"] == 0
        assert gateway.records(1)[0]["outcome"] == "failed"
    finally:
        gateway.plain.RequestHandlerClass = was
