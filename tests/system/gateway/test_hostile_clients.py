"""Clients that are slow, giant, lying or half closed, and many at once, against a real worker (attacks E2, F4).

Each ends in a typed refusal, a cut or a deadline, with one record, and the worker's memory hardly moves.
"""

from __future__ import annotations

import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from loopback import NAME, POSTING, Gateway, read_answer
from scripted import HEAD, MEBIBYTE, drain, memory_stays, serve

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


# Many at once.


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
