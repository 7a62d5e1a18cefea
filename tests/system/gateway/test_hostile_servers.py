"""Servers that are slow, endless, giant or lying, against a real worker (attacks E2, E13).

Each ends in a typed refusal, a cut or a deadline, with one record, and the worker's memory hardly moves.
"""

from __future__ import annotations

import gzip
import socket
import struct
import time

import pytest
from loopback import POSTING, read_answer
from scripted import HEAD, MEBIBYTE, drain, memory_stays, repeat, serve

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
