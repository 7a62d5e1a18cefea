"""One connection attempt of a named kind, in the standard library alone.

The same text runs as the stimulus inside a container (`python3 -c`) and as the control client in the lab, so
a refusal and the proof that the target is alive differ only in the way that leads there. The last line
of output is `REACHED <evidence>` or `REFUSED <reason>`; exit status 0 and 1. Reached means that the canary's own
answer came back: a connection that the gateway accepted in order to refuse it is not enough.
"""

import os
import socket
import struct
import sys
import time

MARK = b"egress-canary"
DECOY = "45.33.32.99"
SECONDS = 2.0


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address: str, port: str, text: str = "") -> bytes:
    """Send `text` (for a server that speaks second) and return what comes."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        if "PROBE_SOURCE" in os.environ:
            connection.bind((os.environ["PROBE_SOURCE"], 0))
        connection.connect((address, int(port)))
        if text:
            connection.sendall(text.encode().decode("unicode_escape").encode())
        got = b""
        while MARK not in got:
            data = connection.recv(4096)
            if not data:
                break
            got += data
        return got


def udp(address: str, port: str, text: str = "ping") -> bytes:
    """One datagram and its answer."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as endpoint:
        endpoint.settimeout(SECONDS)
        endpoint.connect((address, int(port)))
        endpoint.send(text.encode())
        return endpoint.recv(4096)


def _query(name: str) -> bytes:
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return os.urandom(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def _answered(response: bytes, query: bytes) -> bytes:
    code, count = response[3] & 15, struct.unpack("!H", response[6:8])[0]
    if code or not count:
        raise ConnectionRefusedError(f"rcode {code}, {count} answers")
    data = response[-4:]
    if response[:2] == query[:2] and socket.inet_ntoa(data) == DECOY:
        return MARK
    raise ConnectionRefusedError(f"answered by another server: {socket.inet_ntoa(data)}")


def dns(address: str, name: str, transport: str = "udp") -> bytes:
    """Ask `address` for `name`; the canary's answer is the decoy address."""
    query = _query(name)
    if transport == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.settimeout(SECONDS)
            endpoint.connect((address, 53))
            endpoint.send(query)
            return _answered(endpoint.recv(4096), query)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        connection.connect((address, 53))
        connection.sendall(struct.pack("!H", len(query)) + query)
        stream = connection.makefile("rb")
        header = stream.read(2)
        if len(header) < 2:
            raise ConnectionResetError("closed without an answer")
        return _answered(stream.read(struct.unpack("!H", header)[0]), query)


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def icmp(address: str, kind: str = "datagram") -> bytes:
    """An echo request with a payload, through a ping socket or a raw one."""
    body = struct.pack("!BBHHH", 8, 0, 0, 7, 1) + MARK + b"\0"
    packet = body[:2] + struct.pack("!H", _checksum(body)) + body[4:]
    form = socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_RAW
    with socket.socket(socket.AF_INET, form, socket.IPPROTO_ICMP) as endpoint:
        endpoint.settimeout(SECONDS)
        endpoint.sendto(packet, (address, 0))
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            got = endpoint.recv(4096)
            if MARK in got:
                return got
        raise TimeoutError("no echo")


def raw(address: str, protocol: str) -> bytes:
    """A packet of any IP protocol; there is no answer to wait for, having sent it is what counts."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, int(protocol)) as endpoint:
        endpoint.sendto(MARK, (address, 0))
        return MARK


def lookup(name: str) -> bytes:
    """What the container's own resolver says for `name`."""
    return MARK + b" " + socket.gethostbyname(name).encode()  # noqa: TID251 - the workload's own way to resolve


def main() -> int:
    """Command line: kind and its arguments."""
    kinds = {function.__name__: function for function in (tcp, udp, dns, icmp, raw, lookup)}
    try:
        got = kinds[sys.argv[1]](*sys.argv[2:])
    except OSError as error:
        print(f"REFUSED {type(error).__name__}: {error}")
        return 1
    if MARK not in got:
        print(f"REFUSED not the target's answer: {got[:300]!r}")
        return 1
    print(f"REACHED {got[:120]!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
