"""Hosts and authorities: canonical for good, and nothing that another reader takes for an address (A class)."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import idna

from appliance.names import Authority, Host, HostName, InvalidName, format_host, parse_host, split_authority
from tests.vectors.names import REFUSED, TAKEN

VECTORS = tuple(b"\x00" + row[0].encode("utf-8", "surrogatepass") for row in (*REFUSED, *TAKEN))
SEEDS = (
    *VECTORS,
    b"\x01ok.example:443",
    b"\x01[2001:db8::1]:80",
    b"\x0093.184.216.34:443",
    b"\x00xn--mnchen-3ya.example",
    b"\x00stra\xc3\x9fe.example",
)
TOKENS = (
    b"xn--", b"0x7f", b"127.1", b"0177", b"2130706433", b"[::ffff:", b"::1]", b"%25eth0", b"@", b":443", b"..", b"\xe3\x80\x82",
    b"\xef\xbc\x8e", b"\xc3\x9f", b"\xe2\x80\x8d", b"\xc4\xb0", b"-", b"_", b".", b"\x00", b"example", b"localhost",
)  # fmt: skip


def one(data: bytes) -> None:
    """Even first octet: as a person writes it (text); odd: as it stands on the wire (bytes)."""
    if not data:
        return
    written: str | bytes = data[1:]
    if not data[0] & 1:
        written = data[1:].decode("utf-8", "replace")
    with suppress(InvalidName):
        _check_host(written, parse_host(written))
    with suppress(InvalidName):
        host, port = split_authority(written)
        assert port is None or 1 <= port <= 65535
        authority = Authority.parse(written, 443)
        assert authority == Authority(host, port or 443)
        assert Authority.parse(str(authority)) == authority
        assert Authority.parse(str(authority).encode("ascii")) == authority


def _check_host(written: str | bytes, host: Host) -> None:
    text = format_host(host)
    assert parse_host(text) == parse_host(text.encode("ascii")) == host
    if isinstance(host, IPv4Address):
        assert socket.inet_aton(text) == socket.inet_pton(socket.AF_INET, text) == host.packed
        assert written in (text, text.encode())
    elif isinstance(host, IPv6Address):
        assert socket.inet_pton(socket.AF_INET6, str(host)) == host.packed
    else:
        _check_name(written, host)


def _check_name(written: str | bytes, host: HostName) -> None:
    for reader in (socket.inet_aton, IPv4Address, IPv6Address):
        try:
            reader(host.text)
        except (OSError, ValueError):
            continue
        raise AssertionError(f"{host} is an address to {reader}")
    assert len(host.text) <= 253
    assert all(1 <= len(label) <= 63 for label in host.labels)
    for label in host.labels:
        if label.startswith("xn--"):
            assert idna.alabel(idna.ulabel(label)).decode("ascii") == label
    if isinstance(written, bytes):
        assert host.text == written.decode("ascii").lower().removesuffix(".")
