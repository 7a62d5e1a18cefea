"""Connection attempts of a named kind, in the standard library alone.

The same text runs as the stimulus (`python3 -c TEXT`) and as the control client, so a refusal and the proof
that the target is alive differ only in the way that leads there. Arguments: a kind and its own, further
attempts after a `,` each. One line for each attempt: `REACHED <evidence>`, `SENT` (a packet that wants no
answer was taken) or `REFUSED <reason>`; exit status 0 when none was refused. Reached means that the canary's
own answer came back: a connection that the gateway accepted in order to refuse it is not enough.
"""

import os
import socket
import struct
import sys
import threading
import time

MARK = b"egress-canary"
DECOY = "45.33.32.99"
SECONDS = 1.5
SENT = b"sent"


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address: str, port: str, text: str = "") -> bytes:
    """Send `text` (for a server that speaks second) and return what comes."""
    with socket.socket(_family(address), socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        if "PROBE_SOURCE" in os.environ:
            connection.bind((os.environ["PROBE_SOURCE"], 0))
        if "PROBE_MARK" in os.environ:
            mark = struct.pack("=I", int(os.environ["PROBE_MARK"], 0))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
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


def lite(address: str, port: str) -> bytes:
    """A datagram of UDP-Lite (RFC 3828): ports as UDP has them, under another protocol number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136) as endpoint:
        endpoint.sendto(MARK, (address, int(port)))
        return SENT


def stream(address: str, port: str, protocol: str) -> bytes:
    """Connect a stream of another protocol than TCP: 132 is SCTP, 262 MPTCP."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, int(protocol)) as connection:
        connection.settimeout(SECONDS)
        connection.connect((address, int(port)))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(4096)


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


def dns(address: str, name: str, transport: str = "udp", port: str = "53") -> bytes:
    """Ask `address` for `name`; the canary's answer is the decoy address."""
    query = _query(name)
    if transport == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
            endpoint.settimeout(SECONDS)
            endpoint.connect((address, int(port)))
            endpoint.send(query)
            return _answered(endpoint.recv(4096), query)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        connection.settimeout(SECONDS)
        connection.connect((address, int(port)))
        connection.sendall(struct.pack("!H", len(query)) + query)
        answers = connection.makefile("rb")
        header = answers.read(2)
        if len(header) < 2:
            raise ConnectionResetError("closed without an answer")
        return _answered(answers.read(struct.unpack("!H", header)[0]), query)


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
    """A packet of any IP protocol."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, int(protocol)) as endpoint:
        endpoint.sendto(MARK, (address, 0))
        return SENT


def _datagram(port: int, payload: bytes) -> bytes:
    return struct.pack("!4H", 40000, port, 8 + len(payload), 0) + payload


def _header(source: str, address: str, protocol: int, fragment: int = 0, options: bytes = b"") -> bytes:
    """An IPv4 header (RFC 791); the kernel fills in length and checksum of what a raw socket sends."""
    words = 5 + len(options) // 4
    ends = socket.inet_aton(source) + socket.inet_aton(address)
    return struct.pack("!BBHHHBBH", 64 + words, 0, 0, 4711, fragment, 64, protocol, 0) + ends + options


def _send(packet: bytes, address: str) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as endpoint:
        endpoint.sendto(packet, (address, 0))
    return SENT


def _own(address: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
        endpoint.connect((address, 9))
        return str(endpoint.getsockname()[0])


def spoofed(source: str, address: str, port: str) -> bytes:
    """A datagram from an address that is somebody else's."""
    return _send(_header(source, address, 17) + _datagram(int(port), MARK), address)


def syn(source: str, address: str, port: str) -> bytes:
    """The first packet of a TCP connection from an address that is somebody else's."""
    ends = socket.inet_aton(source) + socket.inet_aton(address)
    head = struct.pack("!HHIIBBHHH", 40000, int(port), 1, 0, 5 << 4, 2, 8192, 0, 0)
    total = _checksum(ends + struct.pack("!HH", 6, len(head)) + head)
    return _send(_header(source, address, 6) + head[:16] + struct.pack("!HH", total, 0), address)


def fragments(address: str, port: str) -> bytes:
    """A datagram in two fragments (RFC 791 section 3.2): only the first one has ports."""
    whole, own = _datagram(int(port), MARK + b"." * 27), _own(address)
    first, second = whole[:24], whole[24:]
    _send(_header(own, address, 17, fragment=0x2000) + first, address)
    return _send(_header(own, address, 17, fragment=3) + second, address)


def routed(address: str, port: str, hop: str) -> bytes:
    """A datagram with a loose source route (RFC 791 section 3.1) through `hop`."""
    options = struct.pack("!BBB", 131, 7, 4) + socket.inet_aton(hop) + b"\0"
    return _send(_header(_own(address), address, 17, options=options) + _datagram(int(port), MARK), address)


def six(address: str, port: str) -> bytes:
    """An IPv6 datagram as an Ethernet frame to the next hop, past all that the kernel thinks of IPv6."""
    interface = next(name for _, name in socket.if_nameindex() if name != "lo")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:  # so that the next hop is known
        endpoint.sendto(b"", (DECOY, 9))
    time.sleep(0.1)
    with open("/proc/net/arp", encoding="ascii") as table:  # noqa: PTH123 - procfs
        mac = next(row.split()[3] for row in table if row.split()[-1] == interface)
    payload = _datagram(int(port), MARK)
    ends = socket.inet_pton(socket.AF_INET6, "fd83:1ac::2") + socket.inet_pton(socket.AF_INET6, address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((interface, 0x86DD))
        ethernet = bytes.fromhex(mac.replace(":", "")) + link.getsockname()[4] + b"\x86\xdd"
        link.send(ethernet + struct.pack("!IHBB", 6 << 28, len(payload), 17, 64) + ends + payload)
    return SENT


def lookup(name: str) -> bytes:
    """What the container's own resolver says for `name`."""
    return MARK + b" " + socket.gethostbyname(name).encode()  # noqa: TID251 - the workload's own way to resolve


KINDS = {
    function.__name__: function
    for function in (
        tcp, udp, lite, stream, dns, icmp, raw, spoofed, syn, fragments, routed, six, lookup,
    )
}  # fmt: skip


def attempt(words: list[str]) -> str:
    """The line of one attempt."""
    try:
        got = KINDS[words[0]](*words[1:])
    except OSError as error:
        return f"REFUSED {type(error).__name__}: {error}"
    if got == SENT:
        return "SENT"
    return f"REACHED {got[:120]!r}" if MARK in got else f"REFUSED not the target's answer: {got[:700]!r}"


def attempts(words: list[str]) -> list[list[str]]:
    """The arguments of each attempt."""
    found: list[list[str]] = [[]]
    for word in words:
        if word == ",":
            found.append([])
        else:
            found[-1].append(word)
    return found


def main() -> int:
    """Command line."""
    wanted = attempts(sys.argv[1:])
    lines = [""] * len(wanted)

    def note(index: int, words: list[str]) -> None:
        lines[index] = attempt(words)

    threads = [threading.Thread(target=note, args=pair) for pair in enumerate(wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for words, line in zip(wanted, lines, strict=True):
        name = "" if len(wanted) == 1 else f"{' '.join(words)[:60]}: "
        sys.stdout.write(f"{name}{line or 'REFUSED broke off'}\n")
    return 1 if any(not line or line.startswith("REFUSED") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
