"""Servers at the addresses that must never be reached: each answers gladly and records who came.

One line a connection or datagram: `{"time", "protocol", "from", "address", "port"}`. Run inside the
Internet namespace for the lab's canary addresses, or on the host for the bridge's address; it ends by itself
after `--lifetime` seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import dns.exception
import dns.message
import dns.rdatatype
import dns.rrset

from appliance.verify.probe import MARK
from tests.lab import internet

DIRECTORY = internet.STATE / "canaries"
LOG = DIRECTORY / "internet.jsonl"
HOST_LOG = DIRECTORY / "host.jsonl"
DNS_PORT = 53
GREETING_PORTS = {22: b"SSH-2.0-" + MARK + b"\r\n", 25: b"220 " + MARK + b" ESMTP\r\n"}
PAGE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nConnection: close\r\n\r\n" + MARK
)
IDLE_SECONDS = 5.0


class Record:
    """Append-only evidence; one write a line, so that readers never see half of one."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def hit(self, protocol: str, peer: str, address: str, port: int) -> None:
        line = {"time": time.time(), "protocol": protocol, "from": peer, "address": address, "port": port}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def decoy(wire: bytes) -> bytes:
    """The decoy address for any A question (a server at this address would know every name)."""
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query)
    question = query.question[0]
    if question.rdtype == dns.rdatatype.A:
        response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", internet.DECOY))
    return response.to_wire()


Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def stream_server(record: Record, address: str, port: int) -> Stream:
    """What a TCP canary does with a connection: note it, greet or answer, close."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        record.hit("tcp", writer.get_extra_info("peername")[0], address, port)
        try:
            if port in GREETING_PORTS:
                writer.write(GREETING_PORTS[port])
            else:
                async with asyncio.timeout(IDLE_SECONDS):
                    data = await reader.read(4096)
                if port == DNS_PORT and len(data) > 2:
                    answer = decoy(data[2:])
                    writer.write(struct.pack("!H", len(answer)) + answer)
                else:
                    writer.write(PAGE)
            await writer.drain()
        except (OSError, TimeoutError, dns.exception.DNSException):
            pass
        finally:
            writer.close()

    return serve


class Datagrams(asyncio.DatagramProtocol):
    """What a UDP canary does with a datagram: note it, echo it (or answer as a name server)."""

    def __init__(self, record: Record, address: str, port: int) -> None:
        self._record, self._address, self._port = record, address, port

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._record.hit("udp", addr[0], self._address, self._port)
        try:
            answer = decoy(data) if self._port == DNS_PORT else MARK + b" " + data
        except dns.exception.DNSException:
            return
        self._transport.sendto(answer, addr)


async def serve(
    record: Record, addresses: list[str], tcp: list[int], udp: list[int], lifetime: float
) -> None:
    """Listen on every combination until the lifetime is over, then stop."""
    loop = asyncio.get_running_loop()
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        for port in tcp:
            await asyncio.start_server(stream_server(record, address, port), address, port, family=family)
        for port in udp:
            await loop.create_datagram_endpoint(
                lambda address=address, port=port: Datagrams(record, address, port),  # type: ignore[misc]
                local_addr=(address, port),
                family=family,
            )
    print("ready", flush=True)
    await asyncio.sleep(lifetime)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--address", action="append", required=True)
    parser.add_argument("--tcp", type=int, action="append", default=[])
    parser.add_argument("--udp", type=int, action="append", default=[])
    parser.add_argument("--lifetime", type=float, default=3600)
    options = parser.parse_args()
    record = Record(options.log)
    asyncio.run(serve(record, options.address, options.tcp, options.udp, options.lifetime))
    return 0


if __name__ == "__main__":
    sys.exit(main())
