"""Packets as evidence: what one seen on a link says, and those that the control writes.

A packet of the control is told from all others by the hardware address that it was written with: no container
can choose that of a packet which leaves by the uplink.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from appliance.verify.probe import MARK

IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp6"}
SYN = 0x02
DNS_PORT = 53
KEPT = 1500  # bytes of a packet that are looked through for a name

# What of a link's packets is worth reading (socket(7), SO_ATTACH_FILTER): all but the middle of TCP
# connections to other ports than 53. A serving uplink would drown the reader otherwise.
FILTER: tuple[tuple[int, int, int, int], ...] = (
    (0x28, 0, 0, 0xFFFFF000),  # ldh  protocol of the frame (SKF_AD_PROTOCOL)
    (0x15, 0, 9, IPV4),  # jne  IPv4: take it
    (0x30, 0, 0, 9),  # ldb  protocol of the packet
    (0x15, 0, 7, TCP),  # jne  TCP: take it
    (0x28, 0, 0, 6),  # ldh  fragment offset
    (0x45, 5, 0, 0x1FFF),  # jset a later fragment: take it
    (0xB1, 0, 0, 0),  # ldx  length of the header
    (0x50, 0, 0, 13),  # ldb  flags
    (0x45, 2, 0, SYN),  # jset SYN: take it
    (0x48, 0, 0, 2),  # ldh  destination port
    (0x15, 0, 1, DNS_PORT),  # jne  53: leave it
    (0x06, 0, 0, 0xFFFF),  # take it
    (0x06, 0, 0, 0),  # leave it
)


@dataclass(frozen=True, slots=True)
class Packet:
    """What of a packet is evidence. `link`: where it was seen; `port`: destination, 0 where there is none."""

    link: str
    control: bool
    version: int
    protocol: str
    source: str
    destination: str
    port: int
    body: bytes


def read(data: bytes, ethertype: int, link: str, *, control: bool) -> Packet | None:
    """The packet in `data`, from its network header on; None for what is neither IPv4 nor IPv6.

    IPv6's own housekeeping (RFC 4861: neighbours, routers; RFC 3810) is nobody's attempt, and None as well.
    """
    if ethertype == IPV4 and len(data) >= 20:
        header, number, version = (data[0] & 15) * 4, data[9], 4
        source, destination = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
    elif ethertype == IPV6 and len(data) >= 40:
        header, number, version = 40, data[6], 6
        source, destination = str(IPv6Address(data[8:24])), str(IPv6Address(data[24:40]))
        if number == ICMP6 or IPv6Address(destination).is_multicast:
            return None
    else:
        return None
    rest = data[header:]
    port = struct.unpack("!H", rest[2:4])[0] if number in {TCP, UDP} and len(rest) >= 4 else 0
    protocol = NAMES.get(number, str(number))
    return Packet(link, control, version, protocol, source, destination, port, rest[:KEPT].lower())


def mentions(packet: Packet, name: str) -> bool:
    """Whether the name is in it, as labels of DNS or as text."""
    return labels(name.lower()) in packet.body or name.lower().encode() in packet.body


def labels(name: str) -> bytes:
    """A name as DNS writes it, without the root at its end."""
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))


def question(name: str, number: bytes = b"") -> bytes:
    """A DNS question for an address."""
    head = (number or os.urandom(2)) + struct.pack("!5H", 0x0100, 1, 0, 0, 0)
    return head + labels(name) + b"\0" + struct.pack("!2H", 1, 1)


def answer(asked: bytes, address: str) -> bytes:
    """The answer of a server that knows every name, to a question without further records."""
    record = b"\xc0\x0c" + struct.pack("!2HIH", 1, 1, 60, 4) + socket.inet_aton(address)
    return asked[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0) + asked[12:] + record


def datagram(destination: str, port: int, body: bytes, source: str) -> bytes:
    """UDP, over either version, without a checksum over IPv4 (RFC 768 allows none)."""
    udp = struct.pack("!4H", 40000, port, 8 + len(body), 0) + body
    return packet(destination, UDP, udp, source)


def opening(destination: str, port: int, source: str) -> bytes:
    """The first packet of a TCP connection."""
    return packet(
        destination, TCP, struct.pack("!HHIIBBHHH", 40000, port, 1, 0, 5 << 4, SYN, 8192, 0, 0), source
    )


def packet(destination: str, protocol: int, body: bytes, source: str) -> bytes:
    """A packet of any protocol; `source` counts for IPv4 alone."""
    if ":" in destination:
        ends = IPv6Address("2001:db8::1").packed + IPv6Address(destination).packed
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + ends + body
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 4711, 0, 64, protocol, 0) + ends
    return head[:10] + struct.pack("!H", _checksum(head)) + head[12:] + body


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def as_sent(words: Sequence[str], source: str) -> bytes:
    """The packet with which an attempt of `appliance.verify.probe` begins. Raises `ValueError` for others."""
    match words:
        case ["tcp", address, port, *_]:
            return opening(address, int(port), source)
        case ["udp", address, port, *_]:
            return datagram(address, int(port), MARK, source)
        case ["dns", address, name]:
            return datagram(address, DNS_PORT, question(name), source)
        case ["dns", address, name, "udp"]:
            return datagram(address, DNS_PORT, question(name), source)
        case ["dns", address, _, "tcp"]:
            return opening(address, DNS_PORT, source)
        case ["icmp", address, *_]:
            return packet(address, ICMP, struct.pack("!BBHHH", 8, 0, 0, 7, 1) + MARK, source)
        case ["raw", address, number]:
            return packet(address, int(number), MARK, source)
    raise ValueError(f"the control has no packet for {' '.join(words)!r}")
