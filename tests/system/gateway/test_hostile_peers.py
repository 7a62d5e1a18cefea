"""Clients and servers that are slow, endless, giant or lying, against a real worker (attacks E2, E13, F4).

Each ends in a typed refusal, a cut or a deadline, with one record, and the worker's memory hardly moves.
"""

from __future__ import annotations

import gzip
import socket
import socketserver
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from loopback import NAME, POSTING, Gateway, read_answer

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


# Slow clients.


def test_a_head_one_byte_at_a_time_has_the_time_of_one_head(start) -> None:
    gateway = start(limits={"head_seconds": 1.0})
    slow = [gateway.connect(80) for _ in range(40)]
    begun = time.monotonic()
    sent = 0
    while sent < 60 and time.monotonic() - begun < 6:
        for sock in slow:
            with suppress(OSError):
                sock.send(HEAD[sent % len(HEAD) : sent % len(HEAD) + 1])
        sent += 1
        if sent == 5:
            serve(gateway, lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
            assert gateway.get().body == b"ok"  # nobody else notices
        if not gateway.stats()["connections"]:
            break
        time.sleep(0.05)
    assert [read_answer(sock).reason for sock in slow] == ["request-head-timeout"] * 40
    assert time.monotonic() - begun < 6
    assert len([record for record in gateway.records(41) if record["reason"] == "request-head-timeout"]) == 40


def test_a_body_that_stops_is_given_up(start) -> None:
    gateway = start(limits={"request_idle_seconds": 1.0})
    heads = serve(gateway, drain)
    sock = gateway.connect(80)
    sock.sendall(f"POST /x HTTP/1.1\r\nHost: {POSTING}\r\nContent-Length: 1000\r\n\r\nabc".encode())
    answer = read_answer(sock, "POST")
    assert (answer.status, answer.reason) == (408, "request-body-timeout")
    assert answer.closes
    assert len(heads) == 1
    assert gateway.records(1)[0]["reason"] == "request-body-timeout"


def test_a_body_that_trickles_ends_with_its_connection(start) -> None:
    """Progress keeps a body alive, but no longer than a connection may live."""
    gateway = start(limits={"request_idle_seconds": 1.0, "connection_seconds": 2.0, "closing_seconds": 1.0})
    serve(gateway, drain)
    sock = gateway.connect(80)
    sock.sendall(f"POST /x HTTP/1.1\r\nHost: {POSTING}\r\nContent-Length: 1000\r\n\r\n".encode())
    begun = time.monotonic()
    with suppress(OSError):
        while gateway.stats()["connections"] and time.monotonic() - begun < 8:
            sock.send(b"x")
            time.sleep(0.2)
    assert 1.5 < time.monotonic() - begun < 6
    assert gateway.records(1)[0]["reason"] == "request-body-timeout"


def test_a_server_that_does_not_read_holds_the_client_back(start) -> None:
    gateway = start(
        limits={"request_idle_seconds": 3.0},
        caps={"request_body_bytes": 1 << 30},
    )
    serve(gateway, lambda sock: time.sleep(30))
    sock = gateway.connect(80)
    sock.sendall(f"POST /x HTTP/1.1\r\nHost: {POSTING}\r\nContent-Length: {1 << 29}\r\n\r\n".encode())
    sock.setblocking(False)
    with memory_stays(gateway):
        quiet = sent = 0
        while quiet < 40:
            try:
                sent += sock.send(bytes(1 << 16))
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.02)
            assert sent < 64 * MEBIBYTE
    assert gateway.records(1)[0]["reason"] == "request-body-timeout"


# Giant and lying clients.


def test_ten_thousand_pipelined_requests_take_no_memory(start) -> None:
    gateway = start()
    sock = gateway.connect(80)
    assert gateway.get(method="DELETE", sock=sock).status == 403
    with memory_stays(gateway):
        sock.sendall(b"DELETE / HTTP/1.1\r\nHost: a.net\r\n\r\n" * 500)
        for _ in range(19):
            sock.sendall(b"DELETE / HTTP/1.1\r\nHost: a.net\r\n\r\n" * 500)
            assert [read_answer(sock).status for _ in range(500)] == [403] * 500
        assert [read_answer(sock).status for _ in range(500)] == [403] * 500
    assert len(gateway.records(10_001)) == 10_001


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"f" * 16 + b"\r\n", 400, "chunk-size-invalid"),
        (b"f" * 15 + b"\r\n" + b"x" * 20_000, 413, "body-too-large"),
        (b"1;" + b"a" * 400 + b"\r\n", 400, "chunk-size-invalid"),
        (b"5\r\nhello0\r\n\r\n", 400, "chunk-end-missing"),
    ],
)
def test_giant_and_broken_chunks_of_a_client_are_refused(start, body, status, reason) -> None:
    gateway = start(caps={"request_body_bytes": 10_000})
    serve(gateway, drain)
    headers = ["Transfer-Encoding: chunked"]
    answer = gateway.get(method="POST", host=POSTING, headers=headers, body=body)
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.closes
    (record,) = gateway.records(1)
    assert record["reason"] == reason


# Slow servers.


@pytest.mark.parametrize("pause", [0.05, 0.4])
def test_a_response_head_one_byte_at_a_time_has_the_time_of_one_head(start, pause) -> None:
    gateway = start(limits={"response_head_seconds": 1.0})

    def script(sock: socket.socket) -> None:
        for octet in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 10_000:
            sock.sendall(bytes([octet]))
            time.sleep(pause)

    serve(gateway, script)
    begun = time.monotonic()
    answer = gateway.get()
    assert (answer.status, answer.reason) == (504, "upstream-response-timeout")
    assert time.monotonic() - begun < 4


def test_interim_answers_do_not_buy_time(start) -> None:
    gateway = start(limits={"response_head_seconds": 1.0})
    serve(gateway, repeat(b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n", 0.4))
    begun = time.monotonic()
    assert gateway.get().status in (502, 504)
    assert time.monotonic() - begun < 4


def test_a_response_that_stops_is_cut(start) -> None:
    gateway = start(limits={"response_idle_seconds": 1.0})
    serve(
        gateway,
        lambda sock: (sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"), time.sleep(5)),
    )
    sock = gateway.connect(80)
    sock.sendall(HEAD)
    begun = time.monotonic()
    _, cut = drain(sock)
    assert cut
    assert time.monotonic() - begun < 4
    (record,) = gateway.records(1)
    assert (record["outcome"], record["reason"]) == ("failed", "upstream-response-timeout")


# Endless, giant and lying servers.


ENDLESS_HEADS = {
    "fields": (b"HTTP/1.1 200 OK\r\n", b"X-Endless: yes\r\n" * 1000),
    "one field": (b"HTTP/1.1 200 OK\r\nX-Endless: ", b"y" * 65536),
    "status line": (b"HTTP/1.1 200 ", b"O" * 65536),
    "interim": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "interim hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000),
    "empty lines": (b"", b"\r\n" * 10_000),
    "no line at all": (b"", b"\x00" * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS_HEADS)
def test_an_endless_head_is_502_and_takes_no_memory(gateway, kind) -> None:
    was = gateway.plain.RequestHandlerClass
    try:
        serve(gateway, repeat(*ENDLESS_HEADS[kind]))
        with memory_stays(gateway, 8 * MEBIBYTE):
            answer = gateway.get()
        assert (answer.status, answer.reason) == (502, "upstream-protocol-error")
        assert gateway.records(1)[0]["outcome"] == "failed"
        assert gateway.stats()["pooled"] == 0
    finally:
        gateway.plain.RequestHandlerClass = was


ENDLESS_BODIES = {
    "until close": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536),
    "one giant chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n",
        b"x" * 65536,
    ),
    "many chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
}


@pytest.mark.parametrize("kind", ENDLESS_BODIES)
def test_an_endless_body_ends_at_the_cap_and_takes_no_memory(start, kind) -> None:
    gateway = start(caps={"response_body_bytes": 20 * MEBIBYTE if kind != "many chunks" else MEBIBYTE})
    serve(gateway, repeat(*ENDLESS_BODIES[kind]))
    sock = gateway.connect(80)
    with memory_stays(gateway):
        sock.sendall(HEAD)
        size, cut = drain(sock, 60 * MEBIBYTE)
    assert cut
    assert size > MEBIBYTE // 2
    (record,) = gateway.records(1)
    assert (record["reason"], record["status"]) == ("response-too-large", 200)


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"5\r\nhello\r\n0\r\n", b"X-Trailer: more\r\n" * 1000),
        (b"5\r\nhello\r\n5;a=", b"b" * 65536),
        (b"5\r\nhello\r\n", b"0" * 65536),
        (b"10000000000000000\r\n", b"x" * 65536),
    ],
)
def test_endless_trailers_extensions_and_sizes_are_cut(gateway, first, again) -> None:
    was = gateway.plain.RequestHandlerClass
    try:
        serve(gateway, repeat(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + first, again))
        sock = gateway.connect(80)
        with memory_stays(gateway, 8 * MEBIBYTE):
            sock.sendall(HEAD)
            data, cut = drain(sock, MEBIBYTE)
        assert data < 2000
        record = gateway.records(1)[0]
        assert (record["outcome"], record["reason"]) == ("failed", "upstream-protocol-error")
        assert cut or record["status"] == 502
    finally:
        gateway.plain.RequestHandlerClass = was


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked", b"X-Until: close"]
)
def test_a_server_that_breaks_off_is_a_cut_for_the_client(gateway, framing) -> None:
    """A reset is no end of a body, not even of one that lasts until the connection ends."""
    was = gateway.plain.RequestHandlerClass

    def script(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + b"5\r\nhello\r\n")
        time.sleep(0.2)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    try:
        serve(gateway, script)
        sock = gateway.connect(80)
        sock.sendall(HEAD)
        _, cut = drain(sock)
        assert cut
        (record,) = gateway.records(1)
        assert (record["outcome"], record["reason"], record["status"]) == ("failed", "upstream-closed", 200)
    finally:
        gateway.plain.RequestHandlerClass = was


def test_a_server_that_shuts_its_side_early_ends_the_exchange_for_both(gateway) -> None:
    """It has said all that it will say: what the client still sends has no use."""
    was = gateway.plain.RequestHandlerClass

    def script(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        sock.shutdown(socket.SHUT_WR)
        time.sleep(2)

    try:
        serve(gateway, script)
        sock = gateway.connect(80)
        sock.sendall(f"POST /x HTTP/1.1\r\nHost: {POSTING}\r\nContent-Length: 1000\r\n\r\nabc".encode())
        answer = read_answer(sock, "POST")
        assert (answer.status, answer.body, answer.closes) == (200, b"ok", True)
        assert sock.recv(1) == b""
        assert gateway.stats()["pooled"] == 0
    finally:
        gateway.plain.RequestHandlerClass = was


def test_a_client_that_takes_nothing_of_an_answer_is_given_up(start) -> None:
    gateway = start(limits={"response_idle_seconds": 1.0})
    serve(gateway, repeat(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536))
    sock = gateway.connect(80)
    sock.sendall(HEAD)
    begun = time.monotonic()
    while gateway.stats()["connections"]:
        assert time.monotonic() - begun < 8
        time.sleep(0.1)
    (record,) = gateway.records(1)
    assert (record["outcome"], record["reason"], record["status"]) == ("failed", "response-not-read", 200)


@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_what_follows_an_answer_is_nobodys_answer(start, pause) -> None:
    """Response queue poisoning: more than Content-Length said, at once or while the connection rests."""
    gateway = start()
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned"

    def script(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" + (b"" if pause else poison))
        time.sleep(pause)
        sock.sendall(poison)
        time.sleep(1)

    serve(gateway, script)
    sock = gateway.connect(80)
    for _ in range(3):
        assert gateway.get(sock=sock).body == b"hello"
        time.sleep(2 * pause)
    assert gateway.plain.connections == 3


def test_a_compressed_bomb_passes_as_the_few_bytes_it_is(start) -> None:
    """Nothing is decompressed here: caps count what is on the wire, and no memory is at stake."""
    gateway = start(caps={"response_body_bytes": 200_000})
    bomb = gzip.compress(bytes(64 * MEBIBYTE))
    assert len(bomb) < 200_000
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    serve(gateway, lambda sock: sock.sendall(head + bomb))
    with memory_stays(gateway, 8 * MEBIBYTE):
        answer = gateway.get()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.body == bomb


# Half-closed clients (`printf … | nc`): answered, then closed.


def all_of(sock: socket.socket) -> bytes:
    data = b""
    while block := sock.recv(1 << 16):
        data += block
    return data


@pytest.mark.parametrize("method", ["GET", "DELETE", "NO METHOD"])
def test_a_client_that_says_no_more_gets_its_answer(gateway, method) -> None:
    sock = gateway.connect(80)
    sock.sendall(f"{method} /slow?s=0.5 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    sock.shutdown(socket.SHUT_WR)
    answer = all_of(sock)
    status = {"GET": b"200 OK", "DELETE": b"403 Forbidden", "NO METHOD": b"400 Bad Request"}[method]
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.rstrip().endswith(b"slow" if method == "GET" else b"}")
    assert gateway.records(1)[0]["status"] == int(status[:3])
    assert gateway.stats()["connections"] == 0


def test_so_does_each_of_its_pipelined_requests_and_a_whole_body(gateway) -> None:
    sock = gateway.connect(80)
    requests = HEAD * 3 + b"DELETE / HTTP/1.1\r\nHost: a.net\r\n\r\n" * 2
    post = f"POST /x HTTP/1.1\r\nHost: {POSTING}\r\nContent-Length: 3\r\n\r\nabc"
    sock.sendall(requests + post.encode())
    sock.shutdown(socket.SHUT_WR)
    answers = all_of(sock)
    assert [answers.count(status) for status in (b" 200 OK\r\n", b" 403 Forbidden\r\n")] == [4, 2]
    assert answers.endswith(b"3 bytes")
    assert len(gateway.records(6)) == 6


@pytest.mark.parametrize(
    "sent",
    [b"GET / HT", b"", b"POST /x HTTP/1.1\r\nHost: %b\r\nContent-Length: 3\r\n\r\nab" % POSTING.encode()],
)
def test_what_it_left_unfinished_is_not_awaited(gateway, sent) -> None:
    sock = gateway.connect(80)
    sock.sendall(sent)
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(3)
    with suppress(ConnectionResetError):
        assert all_of(sock) == b""
    records = gateway.records(int(sent.startswith(b"POST")))
    assert [record["reason"] for record in records] == ["client-closed"] * len(records)
    assert gateway.plain.seen == []


def test_one_that_may_be_gone_is_not_waited_for_as_long(start) -> None:
    gateway = start(limits={"half_closed_seconds": 1.0})
    sock = gateway.connect(80)
    sock.sendall(HEAD.replace(b"/x", b"/slow?s=6"))
    sock.shutdown(socket.SHUT_WR)
    begun = time.monotonic()
    with pytest.raises(ConnectionResetError):
        all_of(sock)
    assert time.monotonic() - begun < 4
    assert gateway.records(1)[0]["reason"] == "client-closed"


def test_connections_of_a_tenant_take_turns_and_all_come_to_their_end(start) -> None:
    """With a share of a turn that every read uses up: what is read later is not forgotten."""
    gateway = start(limits={"turn_seconds": 1e-9})
    body = bytes(2 * MEBIBYTE)
    serve(
        gateway,
        lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body),
    )
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(gateway.get, sock=gateway.connect(80)) for _ in range(16)]
        other = gateway.get(sock=gateway.connect(80, gateway.beta))
        assert {len(each.result(20).body) for each in asked} == {len(other.body)} == {len(body)}


def test_octets_that_are_dear_to_read_keep_nobody_else_waiting_f4(start) -> None:
    """A tenth of a second for each 64 KiB of one-octet TLS records: nobody may have that from all connections."""
    gateway = start()
    records = [one_octet_records(gateway, 3_000) for _ in range(90)]
    steady = gateway.connect(80, gateway.beta)
    assert gateway.get(sock=steady).status == 200
    with ThreadPoolExecutor(len(records)) as pool:
        for sock, data in records:
            pool.submit(sock.sendall, data)
        waited = []
        for _ in range(5):
            began = time.monotonic()
            assert gateway.get(sock=steady).status == 200
            waited.append(time.monotonic() - began)
    assert max(waited) < 0.8, waited


def one_octet_records(gateway: Gateway, count: int) -> tuple[socket.socket, bytes]:
    """A connection inside TLS, and a head that has no end in records of one octet each."""
    sock = gateway.connect(443)
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = gateway.trust().wrap_bio(received, sent, server_hostname=NAME)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            sock.sendall(sent.read())
            received.write(sock.recv(65536))
        else:
            break
    sock.sendall(sent.read())
    tls.write(HEAD[:-2] + b"X: ")
    for _ in range(count):
        tls.write(b"x")
    return sock, sent.read()
