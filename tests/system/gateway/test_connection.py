"""Who may connect, how often, and how the worker ends connections: through a real worker process."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import pytest
from loopback import NAME, read_answer


def test_a_source_that_is_no_endpoint_is_closed_unheard(gateway) -> None:
    with pytest.raises(ConnectionError):
        sock = gateway.connect(80, f"{gateway.prefix}.99")
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        while sock.recv(1000):
            pass
    (record,) = gateway.records(1)
    assert (record["reason"], record["tenant"], record["outcome"]) == ("source-unknown", None, "denied")


def test_a_tenant_is_known_by_its_source_address_alone(gateway) -> None:
    gateway.get(sock=gateway.connect(80, gateway.beta), headers=["X-Tenant: acme"])
    (record,) = gateway.records(1)
    assert (record["tenant"], record["endpoint"]) == ("beta", "endpoint-1")


def test_one_container_cannot_take_all_connections_f4(start) -> None:
    gateway = start(scopes={"acme": {"container": {"connections": 3}}})
    held = [gateway.connect(80) for _ in range(3)]
    for sock in held:
        assert gateway.get(sock=sock).status == 200
    answer = read_answer(gateway.connect(80))
    assert (answer.status, answer.reason) == (429, "connections-exceeded")
    assert answer.headers["Retry-After"]
    assert gateway.get(sock=gateway.connect(80, gateway.beta)).status == 200
    gateway.hang_up(held[0])
    time.sleep(0.2)
    assert gateway.get().status == 200


def test_an_answer_is_not_lost_to_a_reset_when_the_body_was_not_read(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(f"PUT /x HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 10000000\r\n\r\n".encode())
    sock.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 1
    while sent < 10_000_000 and time.monotonic() < deadline:
        try:
            sent += sock.send(b"x" * 65536)
        except BlockingIOError:
            time.sleep(0.01)
    sock.settimeout(10)
    assert read_answer(sock, "PUT").reason == "method-not-allowed"


def test_a_connection_that_does_not_close_is_cut(start) -> None:
    gateway = start(limits={"closing_seconds": 0.5})
    sock = gateway.connect(80)
    sock.sendall(b"NONSENSE\r\n\r\n")
    assert read_answer(sock).status == 400
    time.sleep(2)
    with pytest.raises(ConnectionError):
        for _ in range(10):
            sock.sendall(b"x")
            time.sleep(0.05)


@pytest.mark.parametrize("path", ["/slow?s=3", "/big?n=300000000"])
def test_a_policy_that_no_longer_allows_ends_what_is_under_way_g5(gateway, path) -> None:
    sock = gateway.connect(80)
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    time.sleep(0.4)
    gateway.tell({"op": "policy", "profile": "allowlist", "generation": "two"})
    if "slow" in path:
        assert read_answer(sock).reason == "policy-changed"
    else:
        with pytest.raises(ConnectionError):
            while sock.recv(1 << 20):
                pass
    (record,) = gateway.records(1)
    assert (record["outcome"], record["reason"]) == ("denied", "policy-changed")


def test_a_policy_that_still_allows_lets_it_go_on(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(f"GET /slow?s=0.5 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    time.sleep(0.2)
    gateway.tell({"op": "policy", "generation": "two"})
    assert read_answer(sock).status == 200


def test_a_kept_connection_is_judged_by_the_new_policy_g5(gateway) -> None:
    sock = gateway.secure(NAME)
    assert gateway.get(sock=sock).status == 200
    gateway.tell({"op": "policy", "profile": "allowlist", "generation": "two"})
    assert gateway.get(sock=sock).reason == "host-not-listed"


def test_connections_of_a_removed_endpoint_end(start) -> None:
    gateway = start()
    busy, idle, other = gateway.connect(80), gateway.secure(NAME), gateway.connect(80, gateway.beta)
    assert gateway.get(sock=idle).status == 200
    assert gateway.get(sock=other).status == 200
    busy.sendall(f"GET /slow?s=5 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    time.sleep(0.2)
    gateway.tell({"op": "remove-endpoint", "id": "endpoint-0"})
    with pytest.raises(ConnectionError):
        busy.recv(100)
    with suppress(ConnectionError):
        assert idle.recv(100) == b""
    assert gateway.get(sock=other).status == 200
    assert [record["reason"] for record in gateway.records(4)][2] == "endpoint-removed"


def test_a_full_disk_refuses_everything_f7(start, tmp_path) -> None:
    gateway = start(audit_full=True)
    answer = gateway.get()
    assert (answer.status, answer.reason) == (503, "audit-unavailable")
    sock = gateway.connect(3128)
    sock.sendall(f"CONNECT {NAME}:443 HTTP/1.1\r\nHost: {NAME}:443\r\n\r\n".encode())
    assert read_answer(sock).reason == "audit-unavailable"
    assert gateway.stats()["dialled"] == []


def test_draining_finishes_what_is_under_way_and_ends_the_idle(start) -> None:
    gateway = start()
    idle, busy = gateway.connect(80), gateway.connect(80)
    assert gateway.get(sock=idle).status == 200
    busy.sendall(f"GET /slow?s=0.6 HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
    time.sleep(0.2)
    gateway.send({"op": "drain"})
    assert idle.recv(10) == b""
    idle.close()
    answer = read_answer(busy)
    assert (answer.status, answer.closes) == (200, True)
    busy.shutdown(socket.SHUT_WR)
    assert gateway.hear() == {"drained": True}


def test_own_documents_a16(gateway) -> None:
    answer = gateway.get("/.well-known/egress/ca.pem", host="gateway.egress.internal")
    assert answer.body.decode() == gateway.root
    answer = gateway.get("/.well-known/egress/status", host=gateway.address)
    assert b'"tenant":"acme"' in answer.body
    assert b"beta" not in answer.body
    assert gateway.get("/admin", host="gateway.egress.internal").reason == "own-address"
    answer = gateway.get(
        "http://gateway.egress.internal/.well-known/egress/ca.pem",
        host="gateway.egress.internal",
        sock=gateway.connect(3128),
    )
    assert answer.status == 200
    assert gateway.get("/.well-known/egress/ca.pem", host=NAME).body.startswith(b"hello")
