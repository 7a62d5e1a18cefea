"""A target's Internet: a web server for any address, a name server, and a witness of every packet that came.

Runs in the target with nothing but the standard library. Requests go to /run/origin/requests, one line each:
seconds since the epoch, address and port that were asked, the asker's address, the path. What the witness saw
goes to /run/origin/packets, which begins anew with the witness:

    TIME began PID
    TIME packet PROTOCOL DESTINATION PORT   the first since the start or the mark before
    TIME mark PORT LOST                     a packet to MARK; LOST: packets since the start that the kernel dropped

Packets are read in their order, and the witness is the process's main thread: a mark that is noted says that all
before it was seen, and a witness that ends takes the web server with it.
"""

from __future__ import annotations

import http.server
import os
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from typing import NoReturn

HERE = Path("/run/origin")
PKI = Path("/srv/pki")
NAMES = {
    b"www.example.com": "93.184.215.10",
    b"other.example.com": "93.184.215.11",
}
LINK = "host0"
MARK = "192.0.2.1"
TCP, UDP = 6, 17
SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 263, 6, 33
"""Of <linux/if_packet.h> and <asm-generic/socket.h>."""
HELD = 64 << 20
"""Octets of packets that wait for the witness while the machine is busy."""
_write = threading.Lock()


def note(file: str, *words: object) -> None:
    with _write, (HERE / file).open("a", encoding="ascii") as stream:
        stream.write(" ".join(map(str, words)) + "\n")


class Page(http.server.BaseHTTPRequestHandler):
    """Answers every GET and HEAD with the same few octets."""

    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        address, port = self.connection.getsockname()[:2]
        note("requests", f"{time.time():.3f}", f"{address}:{port}", self.client_address[0], self.path)
        body = b"origin\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """The requests' file is the log."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def web(port: int) -> None:
    server = Server(("0.0.0.0", port), Page)
    if port == 443:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(PKI / "site.pem", PKI / "site.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def answer(query: bytes) -> bytes:
    """A name server's answer (RFC 1035, section 4.1): an A record, no record, or no such name."""
    end = query.index(b"\0", 12) + 5
    question, kind = query[12:end], query[end - 4 : end - 2]
    labels, rest = [], question[:-4]
    while rest[0]:
        labels.append(rest[1 : 1 + rest[0]])
        rest = rest[1 + rest[0] :]
    address = NAMES.get(b".".join(labels).lower())
    records = b""
    if address is not None and kind == b"\0\1":
        records = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", 30, 4) + socket.inet_aton(address)
    flags = 0x8580 if address is not None else 0x8583
    counts = struct.pack("!HHHH", 1, 1 if records else 0, 0, 0)
    return query[:2] + struct.pack("!H", flags) + counts + question + records


def name_server() -> None:
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO: who was asked answers
    datagrams.bind(("0.0.0.0", 53))
    streams = socket.create_server(("0.0.0.0", 53))

    def by_datagram() -> None:
        while True:
            query, pieces, _, asker = datagrams.recvmsg(4096, 256)
            asked = next((data[8:12] for level, kind, data in pieces if (level, kind) == (0, 8)), b"\0" * 4)
            packet_info = struct.pack("=I4s4s", 0, asked, b"\0" * 4)
            try:
                datagrams.sendmsg([answer(query)], [(socket.IPPROTO_IP, 8, packet_info)], 0, asker)
            except (ValueError, IndexError, OSError):
                continue

    def by_stream() -> None:
        while True:
            connection, _ = streams.accept()
            with connection:
                try:
                    connection.settimeout(5)
                    said = answer(connection.recv(4096)[2:])
                    connection.sendall(struct.pack("!H", len(said)) + said)
                except (ValueError, IndexError, OSError):
                    continue

    for serve in (by_datagram, by_stream):
        threading.Thread(target=serve, daemon=True).start()


def destination(frame: bytes) -> tuple[int, str, int] | None:
    """Protocol, address and port of an Ethernet frame's IPv4 packet; port 0 where it has none."""
    if len(frame) < 34 or frame[12:14] != b"\x08\x00":
        return None
    protocol, ports = frame[23], 14 + (frame[14] & 15) * 4
    port = int.from_bytes(frame[ports + 2 : ports + 4]) if protocol in {TCP, UDP} else 0
    return protocol, socket.inet_ntoa(frame[30:34]), port


def witness() -> socket.socket:
    """What sees every packet on the link from now on."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, HELD)
    tap.bind((LINK, 0))
    note("packets", f"{time.time():.3f}", "began", os.getpid())
    return tap


def watch(tap: socket.socket) -> NoReturn:
    seen: set[tuple[int, str, int]] = set()
    lost = 0
    while True:
        frame, sender = tap.recvfrom(256)
        packet = destination(frame)
        if sender[2] == socket.PACKET_OUTGOING or packet is None or packet in seen:
            continue
        now = f"{time.time():.3f}"
        if packet[1] == MARK:
            seen.clear()
            lost += struct.unpack("=II", tap.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            note("packets", now, "mark", packet[2], lost)
        else:
            seen.add(packet)
            note("packets", now, "packet", *packet)


def ready() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service_manager:
        service_manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])


def main() -> NoReturn:
    tap = witness()
    name_server()
    web(80)
    web(443)
    ready()
    watch(tap)


if __name__ == "__main__":
    main()
