"""Sees every packet that arrives in the Internet namespace, whatever its protocol, and records it.

A canary notices who speaks to it; the witness notices who only tried: a lone SYN, an ICMP echo, a datagram to a
closed port, GRE, IPv6. One line a packet: `{"link", "version", "protocol", "from", "to", "port", "payload"}`,
`link` being the interface it came in by, `payload` the first bytes of a datagram in hex. Packets of accepted
connections to the lab's own services are not written: SYN (RFC 9293 §3.1) is enough there.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from dataclasses import asdict, dataclass
from ipaddress import IPv6Address

from tests.lab import internet

LOG = internet.STATE / "canaries" / "packets.jsonl"
ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
PACKET_OUTGOING = 4
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
NAMES = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp6"}
PAYLOAD_BYTES = 300
SYN = 0x02
SERVICES = frozenset(
    {
        *(site.address for site in (*internet.SITES, *internet.ODD_SITES, *internet.PROVIDERS)),
        internet.DNS_SERVER,
    }
)


@dataclass(frozen=True, slots=True)
class Packet:
    """What of a packet is evidence; `port` is the destination port, 0 where there is none."""

    version: int
    protocol: str
    source: str
    destination: str
    port: int
    payload: str
    opens: bool


def read(data: bytes, ethertype: int) -> Packet | None:
    """The packet in `data` (from the network header on), or None when it is neither IPv4 nor IPv6."""
    if ethertype == ETH_P_IP and len(data) >= 20:
        header, number = (data[0] & 15) * 4, data[9]
        ends = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
        version = 4
    elif ethertype == ETH_P_IPV6 and len(data) >= 40:
        header, number = 40, data[6]
        ends = str(IPv6Address(data[8:24])), str(IPv6Address(data[24:40]))
        version = 6
    else:
        return None
    rest = data[header:]
    port = struct.unpack("!H", rest[2:4])[0] if number in {TCP, UDP} and len(rest) >= 4 else 0
    payload = rest[8 : 8 + PAYLOAD_BYTES].hex() if number == UDP else ""
    opens = number != TCP or (len(rest) > 13 and rest[13] & SYN != 0)
    return Packet(version, NAMES.get(number, str(number)), *ends, port, payload, opens)


def worth_recording(packet: Packet) -> bool:
    """Everything but the middle of an accepted connection, and IPv6's own housekeeping on the links."""
    if packet.protocol == "icmp6" or (packet.version == 6 and IPv6Address(packet.destination).is_multicast):
        return False
    return packet.opens or packet.destination not in SERVICES


def main() -> int:
    """Record until killed."""
    out = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
        print("ready", flush=True)
        while True:
            data, (link, ethertype, kind, _, _) = tap.recvfrom(65535)
            if kind == PACKET_OUTGOING or link == "lo":
                continue
            packet = read(data, ethertype)
            if packet is not None and worth_recording(packet):
                os.write(out, json.dumps({"link": link, **asdict(packet)}).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
