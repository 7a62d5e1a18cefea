"""What the packet witness reads off a packet, and what it writes down."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv6Address

import pytest

from tests.lab import internet
from tests.lab.witness import ETH_P_IP, ETH_P_IPV6, SYN, Packet, read, worth_recording

SOURCE = "198.18.83.2"
ACK = 0x10


def ipv4(protocol: int, destination: str, rest: bytes) -> bytes:
    ends = socket.inet_aton(SOURCE) + socket.inet_aton(destination)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(rest), 0, 0, 64, protocol, 0) + ends + rest


def tcp(port: int, flags: int) -> bytes:
    return struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, flags, 1024, 0, 0)


def test_a_syn() -> None:
    packet = read(ipv4(6, internet.PRIVATE, tcp(443, SYN)), ETH_P_IP)
    assert packet == Packet(4, "tcp", SOURCE, internet.PRIVATE, 443, "", opens=True)


def test_a_datagram_keeps_its_first_bytes() -> None:
    data = struct.pack("!HHHH", 40000, 53, 12, 0) + b"name"
    packet = read(ipv4(17, "8.8.8.8", data), ETH_P_IP)
    assert packet is not None
    assert (packet.protocol, packet.port, bytes.fromhex(packet.payload)) == ("udp", 53, b"name")


def test_ipv4_options_are_stepped_over() -> None:
    plain = ipv4(6, internet.PRIVATE, b"")
    packet = read(bytes([0x46]) + plain[1:] + b"\0\0\0\0" + tcp(22, SYN), ETH_P_IP)
    assert packet is not None
    assert packet.port == 22


@pytest.mark.parametrize("protocol", [47, 50, 132])
def test_other_protocols_have_their_number(protocol: int) -> None:
    packet = read(ipv4(protocol, internet.LITERAL, b"payload"), ETH_P_IP)
    assert packet is not None
    assert (packet.protocol, packet.port) == (str(protocol), 0)
    assert worth_recording(packet)


def test_ipv6() -> None:
    ends = IPv6Address("fd83::2").packed + IPv6Address(internet.PUBLIC_6).packed
    packet = read(struct.pack("!IHBB", 6 << 28, 20, 6, 64) + ends + tcp(443, SYN), ETH_P_IPV6)
    assert packet is not None
    assert (packet.version, packet.destination, packet.port) == (6, internet.PUBLIC_6, 443)


@pytest.mark.parametrize("data", [b"", b"\x45" * 10, b"\x60" * 19])
def test_truncated_packets_are_no_packets(data: bytes) -> None:
    assert read(data, ETH_P_IP) is None
    assert read(data, ETH_P_IPV6) is None
    assert read(b"arp" * 20, 0x0806) is None


@pytest.mark.parametrize(
    ("destination", "flags", "recorded"),
    [
        (internet.WWW.address, SYN, True),
        (internet.WWW.address, ACK, False),  # the middle of a connection to a service of the lab
        (internet.PRIVATE, SYN, True),
        (internet.PRIVATE, ACK, True),  # A8: a segment without a SYN is a packet that escaped all the same
    ],
)
def test_what_is_written_down(destination: str, flags: int, *, recorded: bool) -> None:
    packet = read(ipv4(6, destination, tcp(443, flags)), ETH_P_IP)
    assert packet is not None
    assert worth_recording(packet) is recorded
