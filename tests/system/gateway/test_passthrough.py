"""TLS that is let through unread, spliced by the kernel: through a real worker process."""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
from contextlib import suppress

import pytest
from loopback import NAME, OPAQUE, OTHER


def end_to_end(gateway) -> ssl.SSLContext:
    """Trusts the origin's own authority and not the gateway's: only an unbroken tunnel satisfies it."""
    from cryptography.hazmat.primitives.serialization import Encoding

    pem = gateway.authority.certificate.public_bytes(Encoding.PEM).decode()
    return ssl.create_default_context(cadata=pem)


@pytest.mark.parametrize("proxied", [False, True])
def test_bytes_are_equal_and_the_record_tells_the_numbers(gateway, proxied) -> None:
    raw = gateway.proxy(f"{OPAQUE}:443") if proxied else gateway.connect(443)
    sock = gateway.wrap(raw, OPAQUE, end_to_end(gateway))
    answer = gateway.get("/big?n=20000000", host=OPAQUE, sock=sock)
    block = bytes(range(256)) * 256
    expected = (block * (20000000 // len(block) + 1))[:20000000]
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(expected).digest()
    # What the gateway cannot read it cannot judge: POST goes through here, as the operator decided.
    answer = gateway.get(
        method="POST", host=OPAQUE, sock=sock, headers=["Content-Length: 5000000"], body=b"y" * 5000000
    )
    assert answer.body == b"5000000 bytes"
    gateway.hang_up(sock)
    (record,) = gateway.records(1)
    assert (record["method"], record["tls"], record["host"]) == ("CONNECT", "passthrough", OPAQUE)
    assert record["bytes_to_client"] > 20000000
    assert record["bytes_to_upstream"] > 5000000
    assert record["upstream_address"] == gateway.address


def test_a_tunnel_is_cut_where_it_passes_a_limit_of_bytes_f4(start) -> None:
    gateway = start(scopes={"acme": {"container": {"bytes_in": 3_000_000}}})
    sock = gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError, ssl.SSLError)):
        gateway.get("/big?n=50000000", host=OPAQUE, sock=sock)
    (record,) = gateway.records(1)
    assert (record["outcome"], record["reason"]) == ("denied", "bytes-in-exceeded")
    assert 3_000_000 < record["bytes_to_client"] < 5_000_000
    assert gateway.get().status == 429
    assert gateway.get(sock=gateway.connect(80, gateway.beta)).status == 200


def test_a_tunnel_lives_as_long_as_the_policy_says(start) -> None:
    gateway = start(tunnel_seconds=1)
    sock = gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    with suppress(OSError):
        assert sock.recv(10) == b""
    assert gateway.records(1)[0]["reason"] == "tunnel-too-old"


def test_a_half_close_reaches_the_other_side(gateway) -> None:
    sock = gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    sock.sendall(f"GET /big?n=3000000 HTTP/1.0\r\nHost: {OPAQUE}\r\n\r\n".encode())
    plain = sock.unwrap  # close_notify and FIN come from the origin when it is done
    data = b""
    while block := sock.recv(65536):
        data += block
    assert data.endswith((bytes(range(256)) * 256)[: 3000000 % 65536][-1000:])
    plain()
    sock.close()
    assert gateway.records(1)[0]["outcome"] == "allowed"


def test_a_client_that_does_not_read_stops_the_origin(gateway) -> None:
    sock = gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    sock.sendall(f"GET /big?n=200000000 HTTP/1.1\r\nHost: {OPAQUE}\r\n\r\n".encode())
    time.sleep(1.0)
    before = gateway.tls.written
    time.sleep(0.5)
    assert gateway.tls.written == before
    assert before < 60_000_000


def test_only_the_named_host_passes_and_only_to_its_own_address_d5(start) -> None:
    gateway = start(names={OPAQUE: ["127.0.0.77"], NAME: ["127.0.0.77"]})
    answer = gateway.get(host=OPAQUE, sock=gateway.secure(OPAQUE))
    assert answer.reason == "destination-not-pinned"
    assert gateway.stats()["dialled"] == []


def test_another_server_name_in_the_tunnel_is_refused_d3(gateway) -> None:
    with pytest.raises(ssl.SSLError):
        gateway.wrap(gateway.proxy(f"{OPAQUE}:443"), OTHER, end_to_end(gateway))
    assert gateway.records(1)[0]["reason"] == "server-name-mismatch"


def test_taking_the_exception_back_ends_the_tunnel_g5(gateway) -> None:
    sock = gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    assert gateway.get(host=OPAQUE, sock=sock).status == 200
    gateway.tell({"op": "policy", "passthrough": [], "generation": "two"})
    with pytest.raises((ConnectionError, ssl.SSLError)):
        sock.sendall(b"x" * 100)
        while sock.recv(100):
            pass
    assert gateway.records(1)[0]["reason"] == "policy-changed"


def test_an_idle_tunnel_ends(start) -> None:
    gateway = start(limits={"tunnel_idle_seconds": 0.5})
    sock = gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    assert gateway.get(host=OPAQUE, sock=sock).status == 200
    with suppress(ConnectionError, ssl.SSLError):
        assert sock.recv(100) == b""
    assert gateway.records(1)[0]["reason"] == "tunnel-idle"


def test_no_listener_gets_an_alert_and_a_record(start) -> None:
    gateway = start(ports={"443": 1})
    with pytest.raises((ConnectionError, ssl.SSLError)):
        gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    (record,) = gateway.records(1)
    assert (record["reason"], record["outcome"]) == ("upstream-unreachable", "failed")
