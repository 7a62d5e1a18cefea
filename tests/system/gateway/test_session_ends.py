"""Exchanges that do not end well, against a real worker: faults upstream, clients that wait, leave or do not read."""

from __future__ import annotations

import socket
import struct
import time

import pytest
from loopback import NAME, WRONG, read_answer

# Upstream faults.


@pytest.mark.parametrize("path", ["/smuggled", "/switch"])
def test_an_answer_that_is_no_strict_http_is_502(gateway, path) -> None:
    answer = gateway.get(path)
    assert (answer.status, answer.reason) == (502, "upstream-protocol-error")
    assert gateway.records(1)[0]["outcome"] == "failed"


def test_a_body_cut_short_is_cut_for_the_client_too(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(f"GET /cut HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        while sock.recv(65536):
            pass
    (record,) = gateway.records(1)
    assert (record["outcome"], record["status"]) == ("failed", 200)


def test_a_stale_pooled_connection_is_replaced_once(gateway) -> None:
    """The server closes 50 ms after its answer; the gateway may or may not have noticed."""
    sock = gateway.connect(80)
    for _ in range(20):
        assert gateway.get("/then-close", sock=sock).status == 200
        time.sleep(0.049)
    assert len(gateway.records(20)) == 20


def test_a_wrong_certificate_is_502_and_no_byte_of_the_request_leaves_d11(gateway) -> None:
    answer = gateway.get(host=WRONG, sock=gateway.secure(WRONG))
    assert (answer.status, answer.reason) == (502, "upstream-certificate-wrong-host")
    assert gateway.tls.seen == []


def test_no_listener_is_502(start) -> None:
    gateway = start(ports={"80": 1})
    answer = gateway.get()
    assert (answer.status, answer.reason) == (502, "upstream-unreachable")


def test_silence_upstream_is_504(start) -> None:
    gateway = start(limits={"response_head_seconds": 0.5})
    answer = gateway.get("/slow?s=4")
    assert (answer.status, answer.reason) == (504, "upstream-response-timeout")


# Back-pressure, endings.


def test_a_client_that_does_not_read_stops_the_origin(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(f"GET /big?n=200000000 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    time.sleep(1.0)
    before = gateway.plain.written
    time.sleep(0.5)
    assert gateway.plain.written == before
    assert before < 60_000_000
    sock.close()
    (record,) = gateway.records(1)
    assert (record["outcome"], record["reason"]) == ("failed", "client-closed")


def test_a_slow_head_is_closed_with_408(start) -> None:
    gateway = start(limits={"head_seconds": 0.3})
    sock = gateway.connect(80)
    sock.sendall(b"GET / HTTP/1.1\r\n")
    assert read_answer(sock).reason == "request-head-timeout"
    assert gateway.records(1)[0]["reason"] == "request-head-timeout"


def test_an_idle_connection_is_closed_without_a_record(start) -> None:
    gateway = start(limits={"keep_alive_seconds": 0.3})
    sock = gateway.connect(80)
    assert gateway.get(sock=sock).status == 200
    assert sock.recv(10) == b""
    gateway.records(1)


def test_a_client_that_leaves_while_we_dial_is_recorded_once(start) -> None:
    gateway = start()
    sock = gateway.connect(80)
    sock.sendall(f"GET /slow?s=3 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    time.sleep(0.2)
    # A reset: an end in good order may be the end of what the client has to say, see test_hostile_clients.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
    assert gateway.records(1)[0]["reason"] == "client-closed"
    assert gateway.stats()["connections"] == 0


def test_a_client_that_asks_on_and_on_and_reads_nothing_is_held_back(start) -> None:
    gateway = start()
    sock = gateway.connect(80)
    sock.setblocking(False)
    requests = b"DELETE / HTTP/1.1\r\nHost: a.net\r\n\r\n" * 1000
    quiet = sent = 0
    while quiet < 50:
        try:
            sent += sock.send(requests[sent % len(requests) :])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.02)
        assert sent < 60_000_000
    assert gateway.stats()["requests"] < sent // len(requests) * 1000
