"""Mode `upstream` (attack G9): through a real worker and a proxy that does as it is asked."""

from __future__ import annotations

import pytest
from connect_proxy import OPENED, ConnectProxy
from loopback import NAME, OPAQUE, PRIVATE, WRONG
from test_passthrough import end_to_end

PROXY = "127.62.0.9"


@pytest.fixture
def proxy():
    running = ConnectProxy(PROXY, {})
    yield running
    running.close()


@pytest.fixture
def gateway(start, proxy):
    gateway = start(proxy={"address": PROXY, "port": proxy.port})
    proxy.ports |= {80: gateway.plain.port, 443: gateway.tls.port}
    return gateway


def asked(gateway, port: int) -> bytes:
    return f"CONNECT {gateway.address}:{port} HTTP/1.1\r\nHost: {gateway.address}:{port}\r\n\r\n".encode()


def test_the_proxy_is_told_addresses_and_no_name(gateway, proxy) -> None:
    assert gateway.get().body == f"hello from {NAME}".encode()
    assert gateway.get(sock=gateway.secure(NAME)).body == f"hello from {NAME}".encode()
    assert proxy.asked == [asked(gateway, 80), asked(gateway, 443)]
    assert gateway.stats()["dialled"] == [f"{PROXY}:{proxy.port}"] * 2
    assert {r["upstream_address"] for r in gateway.records(2, "request")} == {gateway.address}


def test_a_tunnel_through_the_proxy_is_used_again_for_its_origin_alone(gateway, proxy) -> None:
    sock = gateway.secure(NAME)
    assert gateway.get(sock=sock).status == gateway.get(sock=sock).status == 200
    assert gateway.get(sock=gateway.secure(NAME)).status == 200
    assert len(proxy.asked) == 1
    assert gateway.get(sock=gateway.secure(NAME, source=gateway.beta)).status == 200
    assert len(proxy.asked) == 2


def test_the_server_proves_its_name_from_end_to_end_d11(gateway, proxy) -> None:
    answer = gateway.get(host=WRONG, sock=gateway.secure(WRONG))
    assert (answer.status, answer.reason) == (502, "upstream-certificate-wrong-host")
    assert gateway.tls.seen == []
    assert len(proxy.asked) == 1


def test_passthrough_goes_through_the_proxy_unread(gateway, proxy) -> None:
    sock = gateway.wrap(gateway.connect(443), OPAQUE, end_to_end(gateway))
    assert len(gateway.get("/big?n=3000000", host=OPAQUE, sock=sock).body) == 3000000
    assert proxy.asked == [asked(gateway, 443)]


def test_one_private_address_condemns_the_set_b7(gateway, proxy) -> None:
    answer = gateway.get(host=PRIVATE)
    assert (answer.status, answer.reason) == (403, "private-address")
    assert proxy.asked == []


def test_an_address_that_is_not_pinned_is_not_asked_for_d5(start, proxy) -> None:
    gateway = start(proxy={"address": PROXY, "port": proxy.port}, names={NAME: ["127.0.0.77"]})
    assert gateway.get(sock=gateway.secure(NAME)).reason == "destination-not-pinned"
    assert proxy.asked == []


@pytest.mark.parametrize("port", [80, 443])
def test_the_proxy_itself_is_no_destination(start, proxy, port) -> None:
    gateway = start(proxy={"address": PROXY, "port": proxy.port}, names={NAME: [PROXY]})
    target = f"http://{NAME}/hello" if port == 80 else "/hello"
    sock = gateway.connect(3128) if port == 80 else gateway.wrap(gateway.proxy(f"{NAME}:443"), NAME)
    answer = gateway.get(target, sock=sock)
    assert (answer.status, answer.reason) == (403, "uplink-proxy-address")
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 502, "uplink-proxy-refused"),
        (b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\n\r\n", 502, "uplink-proxy-refused"),
        (b"HTTP/1.1 504 Late\r\n\r\n", 504, "upstream-connect-timeout"),
        (OPENED + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 502, "uplink-proxy-invalid"),
        (b"HTTP/1.1 200 " + b"x" * 20000, 502, "uplink-proxy-invalid"),
        (b"SSH-2.0-OpenSSH_9\r\n", 504, "uplink-proxy-timeout"),
    ],
)  # fmt: skip
def test_what_is_no_tunnel_is_a_typed_refusal_and_nothing_is_sent(start, said, status, reason) -> None:
    proxy = ConnectProxy(PROXY, {}, said)
    gateway = start(proxy={"address": PROXY, "port": proxy.port}, limits={"connect_seconds": 0.7})
    proxy.ports[80] = gateway.plain.port
    answer = gateway.get()
    assert (answer.status, answer.reason) == (status, reason)
    assert gateway.plain.seen == []
    (record,) = gateway.records(1)
    assert (record["outcome"], record["reason"]) == ("failed", reason)
    proxy.close()


def test_a_proxy_that_is_away_is_a_typed_refusal(gateway, proxy) -> None:
    proxy.close()
    assert gateway.get().reason == "uplink-proxy-unreachable"
