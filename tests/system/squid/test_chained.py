"""Mode `chained` in a real Squid: the gateway's own port opens tunnels to public addresses, and nothing else."""

import socket

import pytest

from appliance.processes import CHAINED_PORT
from tests.system.squid.conftest import GATEWAY, METADATA, OTHER, PRIVATE, WEB_TENANT, WWW, Entered

pytestmark = pytest.mark.system


def asked(world, *lines, then=b""):
    """What Squid answers on the gateway's port, and what comes after the head when something follows."""
    with Entered(world.inside):
        connection = socket.create_connection(("127.0.0.1", CHAINED_PORT), timeout=8)
    with connection, connection.makefile("rb") as answer:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        status = answer.readline()
        while answer.readline() not in {b"\r\n", b""}:
            pass
        if not then or b" 200 " not in status:
            return status, b""
        connection.sendall(then)
        return status, answer.readline()


def connect(target):
    return f"CONNECT {target} HTTP/1.1", f"Host: {target}"


@pytest.mark.parametrize("address", [WWW, OTHER])
def test_a_public_address_is_opened(world, address):
    before = len(world.seen)
    request = b"GET /chained HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n"
    status, line = asked(world, *connect(f"{address}:80"), then=request)
    assert b" 200 " in status
    assert line == b"HTTP/1.1 200 OK\r\n"
    assert [(label, path) for label, _, path, _, _ in world.seen[before:]] == [(f"{address}:80", "/chained")]


@pytest.mark.parametrize(
    "lines",
    [
        connect(f"{PRIVATE}:80"),
        connect(f"{METADATA}:80"),
        connect("127.0.0.1:15101"),
        connect("10.88.0.1:53"),
        connect("www.example.com:443"),
        connect("rebound.example.net:80"),
        connect("0x0a.0.1.5:80"),
        connect("10.0.261:80"),
        connect("167772421:80"),
        connect("[::ffff:10.0.1.5]:80"),
        (f"GET http://{WWW}/ HTTP/1.1", f"Host: {WWW}"),
        ("GET http://www.example.com/ HTTP/1.1", "Host: www.example.com"),
        ("GET /squid-internal-mgr/info HTTP/1.1", "Host: 127.0.0.1"),
    ],
    ids=lambda lines: lines[0],
)
def test_everything_else_is_refused(world, lines):
    before, questions = len(world.seen), len(world.asked)
    status, _ = asked(world, *lines)
    assert b" 200 " not in status
    assert status.startswith(b"HTTP/1.1 4")
    assert len(world.seen) == before
    assert len(world.asked) == questions


def test_containers_do_not_come_to_the_gateways_port(world):
    """It is on loopback; what leads containers to Squid leads to the other port."""
    for address in (GATEWAY, "10.88.0.2"):
        with Entered(world.clients[WEB_TENANT]), pytest.raises(OSError), socket.socket() as opened:
            opened.settimeout(0.5)
            opened.connect((address, CHAINED_PORT))


def test_what_the_gateway_asks_is_not_on_the_fallbacks_record(world):
    asked(world, *connect(f"{PRIVATE}:81"))
    asked(world, *connect(f"{WWW}:81"))
    log = world.directory / "access.log"
    assert f"{PRIVATE}" not in log.read_text()
    assert ":81" not in log.read_text()
