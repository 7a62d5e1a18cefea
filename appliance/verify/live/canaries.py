"""Live canaries: servers that answer gladly and remember who came, and who sees every packet.

One thread reads it all: TCP and UDP servers at the canaries' addresses, servers on the host's own addresses,
and every packet on the canaries' links and on the gateway's uplink. Nothing is written anywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.verify.live import packets
from appliance.verify.live.ground import CONTROL, CONTROL_ADDRESS, CONTROL_ADDRESS_6, GroundError, inside
from appliance.verify.live.packets import Packet
from appliance.verify.probe import DECOY, MARK

TCP_PORTS = (22, 25, 53, 80, 443, 853, 1080, 5432, 6379, 8080)
UDP_PORTS = (53, 123, 443, 853, 9999)
GREETINGS = {22: b"SSH-2.0-" + MARK + b"\r\n", 25: b"220 " + MARK + b" ESMTP\r\n"}
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n" + MARK
LOOPBACK = "127.0.0.1"  # the control of the host's own servers: no packet from a link has this source
UPLINK = "uplink"
IDLE_SECONDS = 5.0
LOOK_SECONDS = 0.2  # how soon it is seen that it is to end
SETTLE_SECONDS = 5.0
ETH_P_ALL, PACKET_OUTGOING, SOL_PACKET, PACKET_STATISTICS = 0x0003, 4, 263, 6
SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
DISCARD_PORT = 9  # RFC 863
CONTROLS = frozenset({CONTROL_ADDRESS, CONTROL_ADDRESS_6, LOOPBACK})


@dataclass(frozen=True, slots=True)
class Visit:
    """A connection to one of the servers; method, host and path of its request, where it made one."""

    control: bool
    address: str
    port: int
    method: str = ""
    host: str = ""
    path: str = ""


class Witness:
    """Context: reads from `begin` to `close`; `packets` and `visits` only grow."""

    def __init__(self) -> None:
        self.packets: list[Packet] = []
        self.visits: list[Visit] = []
        self.host_port = 0
        self._selector = selectors.DefaultSelector()
        self._taps: list[socket.socket] = []
        self._writer: socket.socket | None = None
        self._hardware = b"\x02" + secrets.token_bytes(5)  # locally administered, unicast (IEEE 802)
        self._nobody = b"\x02" + secrets.token_bytes(5)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._idle: dict[socket.socket, float] = {}
        self._ended = False

    # ---- what is read

    def watch_uplink(self, namespace: Path, link: str) -> None:
        """See what leaves the gateway's namespace, and be able to write there. Raises `OSError`."""

        def attach() -> tuple[socket.socket, socket.socket]:
            tap = _tap()
            tap.bind((link, ETH_P_ALL))
            writer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            writer.bind((link, 0))
            return tap, writer

        tap, self._writer = inside(namespace, attach)
        self._add_tap(tap, link, leaving=True)

    def watch_canaries(self, namespace: Path, addresses: Iterable[str]) -> None:
        """See all that arrives at the canaries, and serve there. Raises `OSError`."""
        places = [*dict.fromkeys(addresses)]

        def attach() -> tuple[list[socket.socket], list[tuple[socket.socket, int]]]:
            return (
                [_listener(address, port) for address in places for port in TCP_PORTS],
                [(_datagrams(address, port), port) for address in places for port in UDP_PORTS],
            )

        self._add_tap(inside(namespace, _tap), "", leaving=False)
        servers, endpoints = inside(namespace, attach)
        for server in servers:
            self._add_server(server)
        for endpoint, port in endpoints:
            self._add_echo(endpoint, port)

    def serve_host(self, addresses: Iterable[str]) -> None:
        """Serve at a port of the kernel's choice at each of these addresses. Raises `GroundError`."""
        wanted = list(addresses)
        for _ in range(20):
            opened: list[socket.socket] = []
            try:
                for address in wanted:
                    opened.append(_listener(address, opened[0].getsockname()[1] if opened else 0))
            except OSError:
                for each in opened:
                    each.close()
                continue
            self.host_port = opened[0].getsockname()[1] if opened else 0
            for each in opened:
                self._add_server(each)
            return
        raise GroundError(f"no port is free at every address of the host: {', '.join(wanted)}")

    def begin(self) -> None:
        """Start reading."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and close everything. Safe to repeat."""
        if self._thread.is_alive():
            self._ended = True
            self._thread.join()
        for key in list(self._selector.get_map().values() if self._selector.get_map() else ()):
            with contextlib.suppress(OSError, AttributeError):
                key.fileobj.close()  # type: ignore[union-attr]  # all are sockets, none a number
        self._selector.close()
        if self._writer is not None:
            self._writer.close()

    # ---- the control at the uplink

    def write(self, packet: bytes, *, to: bytes | None = None) -> None:
        """Put a packet on the uplink, past every rule. It is for nobody there unless `to` says for whom."""
        if self._writer is None:
            raise OSError("the uplink is not watched")
        kind = packets.IPV6 if packet[0] >> 4 == 6 else packets.IPV4
        self._writer.send((to or self._nobody) + self._hardware + struct.pack("!H", kind) + packet)

    def settle(self, control: Callable[[bytes], None], source: str) -> None:
        """Wait until all that arrived so far has been read. Raises `OSError` when something was lost.

        `control` sends a datagram to a canary from where the control is.
        """
        mark = secrets.token_hex(8).encode()
        self.write(packets.datagram("198.19.255.253", DISCARD_PORT, mark, source))
        control(mark)
        deadline = time.monotonic() + SETTLE_SECONDS
        start = max(0, len(self.packets) - 50)
        while not {UPLINK, CONTROL} <= {p.link for p in self.packets[start:] if mark in p.body}:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise OSError("the record of packets has stopped")
            time.sleep(0.002)
        for tap in self._taps:
            _taken, lost = struct.unpack("=II", tap.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            if lost:
                raise OSError(
                    f"{lost} packets came faster than they could be read; try again when it is quieter"
                )

    # ---- the thread

    def _register(self, thing: socket.socket, act: Callable[[], None]) -> None:
        thing.setblocking(False)
        self._selector.register(thing, selectors.EVENT_READ, act)

    def _read(self) -> None:
        while not self._ended:
            for key, _events in self._selector.select(LOOK_SECONDS):
                with contextlib.suppress(OSError):
                    key.data()
            for connection in [
                c for c, since in self._idle.items() if time.monotonic() - since > IDLE_SECONDS
            ]:
                self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._idle.pop(connection, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        connection.close()

    def _add_tap(self, tap: socket.socket, link: str, *, leaving: bool) -> None:
        self._taps.append(tap)
        self._register(tap, lambda: self._take(tap, link, leaving=leaving))

    def _take(self, tap: socket.socket, link: str, *, leaving: bool) -> None:
        while True:
            try:
                data, (name, ethertype, kind, _family, hardware) = tap.recvfrom(65535)
            except BlockingIOError:
                return
            if name == "lo" or (link and name != link) or leaving is not (kind == PACKET_OUTGOING):
                continue
            control = hardware == self._hardware if leaving else name == CONTROL
            packet = packets.read(data, ethertype, UPLINK if leaving else name, control=control)
            if packet is not None:
                self.packets.append(packet)

    def _add_server(self, listener: socket.socket) -> None:
        self._register(listener, lambda: self._accept(listener))

    def _accept(self, listener: socket.socket) -> None:
        connection, peer = listener.accept()
        place = connection.getsockname()
        address, port = place[0], place[1]
        control = peer[0] in CONTROLS
        if port in GREETINGS:
            self.visits.append(Visit(control, address, port))
            with contextlib.suppress(OSError):
                connection.send(GREETINGS[port])
            connection.close()
            return
        self._idle[connection] = time.monotonic()
        number = len(self.visits)
        self.visits.append(Visit(control, address, port))
        self._register(connection, lambda: self._serve(connection, number))

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            data = connection.recv(4096)
            visit = self.visits[number]
            if visit.port == packets.DNS_PORT and len(data) > 14:
                said = packets.answer(data[2:], DECOY)
                connection.send(struct.pack("!H", len(said)) + said)
            elif data:
                self.visits[number] = asked(visit, data)
                connection.send(PAGE)
        finally:
            self._drop(connection)

    def _add_echo(self, endpoint: socket.socket, port: int) -> None:
        def reply() -> None:
            data, peer = endpoint.recvfrom(4096)
            endpoint.sendto(
                packets.answer(data, DECOY) if port == packets.DNS_PORT else MARK + b" " + data, peer
            )

        self._register(endpoint, reply)


def asked(visit: Visit, data: bytes) -> Visit:
    """The same visit, with what its request asked for."""
    head = data.decode("latin-1").split("\r\n")
    method, _, rest = head[0].partition(" ")
    host = next((line.partition(":")[2].strip() for line in head[1:] if line.lower().startswith("host:")), "")
    return Visit(visit.control, visit.address, visit.port, method, host.lower(), rest.partition(" ")[0])


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener


def _datagrams(address: str, port: int) -> socket.socket:
    endpoint = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    endpoint.bind((address, port))
    return endpoint


def _tap() -> socket.socket:
    """Sees packets of every protocol from the network header on, as `packets.FILTER` chooses."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    program = b"".join(struct.pack("=HBBI", *step) for step in packets.FILTER)
    held = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(packets.FILTER), ctypes.addressof(held))
    tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    with contextlib.suppress(PermissionError):
        tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    return tap
