"""The first bytes of a connection or tunnel, through a real worker process."""

from __future__ import annotations

import socket
import ssl
import subprocess

import pytest
from loopback import NAME, OTHER, read_answer


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def refused_handshake(gateway, sock, name) -> str:
    with pytest.raises(ssl.SSLError) as caught:
        gateway.wrap(sock, name, unverified())
    return caught.value.reason


def test_no_server_name_gets_an_alert_d3(gateway) -> None:
    assert "UNRECOGNIZED_NAME" in refused_handshake(gateway, gateway.connect(443), None)
    (record,) = gateway.records(1)
    assert (record["kind"], record["reason"], record["outcome"]) == ("connection", "no-server-name", "denied")
    assert gateway.stats()["asked"] == []


def test_an_address_as_server_name_is_refused_d3(gateway) -> None:
    # Python sends no SNI for addresses; openssl sends what it is told.
    run = subprocess.run(
        ["openssl", "s_client", "-connect", f"{gateway.address}:443", "-bind", f"{gateway.acme}:0", "-servername", "127.0.0.1"],
        input=b"", capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert b"unrecognized name" in run.stderr
    (record,) = gateway.records(1)
    assert (record["reason"], record["host"]) == ("server-name-invalid", "127.0.0.1")


def test_the_server_name_must_be_the_connect_authority_d3(gateway) -> None:
    assert "UNRECOGNIZED_NAME" in refused_handshake(gateway, gateway.proxy(f"{NAME}:443"), OTHER)
    (record,) = gateway.records(1)
    assert record["reason"] == "server-name-mismatch"
    assert gateway.stats()["dialled"] == []


@pytest.mark.parametrize("start", [b"SSH-2.0-OpenSSH_9\r\n", b"GET / HTTP/1.1\r\nHost: x.net\r\n\r\n"])
def test_a_tunnel_carries_tls_only_d8(gateway, start) -> None:
    sock = gateway.proxy(f"{NAME}:443")
    sock.sendall(start)
    assert sock.recv(100) == b""
    assert gateway.records(1)[0]["reason"] == "not-tls-in-tunnel"
    assert gateway.stats()["dialled"] == []


def test_a_denied_host_gets_a_typed_answer_inside_tls_and_nothing_is_asked(gateway) -> None:
    answer = gateway.get(host="router.internal", sock=gateway.secure("router.internal"))
    assert (answer.status, answer.reason) == (403, "name-not-public")
    assert answer.closes
    (record,) = gateway.records(1)
    assert (record["kind"], record["host"], record["reason"]) == (
        "request",
        "router.internal",
        "name-not-public",
    )
    stats = gateway.stats()
    assert (stats["asked"], stats["dialled"]) == ([], [])


def test_a_denied_host_that_asks_nothing_is_recorded_all_the_same(gateway) -> None:
    gateway.secure("router.internal").close()
    (record,) = gateway.records(1)
    assert (record["kind"], record["reason"]) == ("connection", "name-not-public")


def test_the_gateways_own_name_is_not_served_over_tls_a16(gateway) -> None:
    name = "gateway.egress.internal"
    answer = gateway.get("/.well-known/egress/status", host=name, sock=gateway.secure(name))
    assert (answer.status, answer.reason) == (403, "own-address")


def test_a_client_that_does_not_trust_us_is_recorded_d10(gateway) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        gateway.wrap(gateway.connect(443), NAME, ssl.create_default_context())
    (record,) = gateway.records(1)
    assert (record["reason"], record["outcome"]) == ("tls-handshake-failed", "failed")


def test_a_client_without_http_1_1_is_refused_d10(gateway) -> None:
    context = gateway.trust()
    context.set_alpn_protocols(["h2"])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        gateway.wrap(gateway.connect(443), NAME, context)
    assert gateway.records(1)[0]["reason"] == "tls-handshake-failed"


def test_garbage_that_begins_like_tls_is_refused(gateway) -> None:
    sock = gateway.connect(443)
    sock.sendall(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00")
    assert sock.recv(100) == b"\x15\x03\x03\x00\x02\x02\x32"
    assert gateway.records(1)[0]["reason"] == "tls-invalid"


def test_a_client_hello_in_single_bytes_is_read(gateway) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = gateway.trust().wrap_bio(incoming, outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    sock = gateway.connect(443)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in outgoing.read():
        sock.sendall(bytes([byte]))
    assert sock.recv(3)[:2] == b"\x16\x03"


def test_silence_is_closed_in_time(start) -> None:
    gateway = start(limits={"first_bytes_seconds": 0.3})
    sock = gateway.connect(80)
    assert sock.recv(100) == b""
    assert gateway.records(1)[0]["reason"] == "no-first-bytes"


def test_half_a_client_hello_is_closed_in_time(start) -> None:
    gateway = start(limits={"first_bytes_seconds": 0.3})
    sock = gateway.connect(443)
    sock.sendall(b"\x16\x03\x01")
    assert sock.recv(100)[:1] == b"\x15"
    assert gateway.records(1)[0]["reason"] == "no-first-bytes"


def test_half_a_handshake_is_closed_in_time(start) -> None:
    gateway = start(limits={"handshake_seconds": 0.3})
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = gateway.trust().wrap_bio(incoming, outgoing, server_hostname=NAME)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    sock = gateway.connect(443)
    sock.sendall(outgoing.read())
    with pytest.raises(ConnectionError):
        while sock.recv(65536):
            pass
    assert gateway.records(1)[0]["reason"] == "tls-handshake-failed"


def test_a_first_byte_of_nothing_known_is_400(gateway) -> None:
    sock = gateway.connect(80)
    sock.sendall(b"\x80\x9a\x01\x03\x01\r\n\r\n")
    assert read_answer(sock).status == 400
