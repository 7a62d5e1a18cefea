"""Section A, packets: ways past the gateway that a workload may look for, and packets that no process sees.

A row of the seat `SANDBOX` stands for a workload whose kernel let it have every capability.
"""

from __future__ import annotations

from collections.abc import Sequence

from appliance.verify.case import Canary, Case, Layer, Origin, Outcome, Output, Seat
from appliance.verify.commands import UNSET, both_ways, curl, probe, python, together
from appliance.verify.parts import HTTP, opened, requested
from appliance.verify.world import World

REFUSED, REACHES = Outcome.REFUSED, Outcome.REACHES
EVERY = frozenset(Layer)
KERNEL = frozenset({Layer.KERNEL})
CANARY = "egress-canary"
SERVED = ("status 200", CANARY, "REACHED")
TCP_PORTS = (22, 25, 5432, 6379, 8080)
UDP_PORTS = (123, 443, 853, 9999)
PROTOCOLS = {"igmp": 2, "ipip": 4, "dccp": 33, "ipv6-in-ip": 41, "gre": 47, "esp": 50, "ah": 51, "ospf": 89,
             "l2tp": 115, "sctp": 132, "udp-lite": 136}  # fmt: skip


def rows(world: World) -> list[Case]:
    """The cases of A1 to A11 and A13."""
    return [
        *_literals(world),
        *_mediated(world),
        *_variables(world),
        *_ports(world),
        *_datagrams(world),
        *_echo(world),
        *_protocols(world),
        *_version_6(world),
        *_sources(world),
        *_marks(world),
    ]


def _tcp(world: World, address: str, *ports: int) -> tuple[Canary, ...]:
    return tuple(opened(world, address, port) for port in ports)


def _udp(world: World, address: str, *ports: int) -> tuple[Canary, ...]:
    return tuple(opened(world, address, port, "udp") for port in ports)


def _seen(world: World, address: str, port: int, protocol: str = "tcp") -> Canary:
    """A port whose server is no canary: that its packets are recorded is proof enough."""

    def touch() -> bool:
        world.probe(protocol, address, str(port), HTTP)
        return True

    return Canary(f"{protocol} {address}:{port}", world.packets(address, protocol, port), touch)


def _attempts(kind: str, address: str, ports: Sequence[int], *text: str) -> list[tuple[str, ...]]:
    return [(kind, address, str(port), *text) for port in ports]


def _literals(world: World) -> list[Case]:
    t = world.targets
    return [
        Case("A1-literal", "a public address as a literal, both ways", REFUSED, both_ways(f"http://{t.literal}/"),
             _tcp(world, t.literal, 80), expect=("status 403",), forbid=SERVED, layers=EVERY),
        Case("A1-literal-tls", "the same with TLS", REFUSED, both_ways(f"https://{t.literal}/", "--insecure"),
             _tcp(world, t.literal, 443), forbid=SERVED, layers=EVERY),
        Case("A1-private", "a private address", REFUSED, both_ways(f"http://{t.private}/"),
             _tcp(world, t.private, 80), expect=("status 403",), forbid=SERVED, layers=EVERY),
        Case("A1-private-tls", "a private address with TLS", REFUSED,
             both_ways(f"https://{t.private}/", "--insecure"), _tcp(world, t.private, 443), forbid=SERVED,
             layers=EVERY),
        Case("A1-no-variables", "a public address, no proxy variable set, two ports at once", REFUSED,
             (*UNSET, *probe(*_attempts("tcp", t.literal, (80, 443), HTTP))), _tcp(world, t.literal, 80, 443),
             expect=("REFUSED",), forbid=SERVED, layers=EVERY),
    ]  # fmt: skip


def _mediated(world: World) -> list[Case]:
    t, path = world.targets, "/canary/A2-mediated"

    def recorded(inner: World) -> Output:
        done = inner.run("reader", curl("--noproxy", "*", f"http://{t.www.name}{path}"))
        log = inner.egress("--json", "log", "--tenant", inner.tenants["reader"], "-n", "50").text
        lines = [line for line in log.splitlines() if path in line and '"allowed"' in line]
        return Output(done.status, f"{done.text}\n{len(lines)} on record")

    return [
        Case("A2-mediated", "an allowed host without the proxy variables: mediated and on record", REACHES, recorded,
             (requested(world, t.www, path),), expect=("status 200", "1 on record")),
        Case("A2-nobody-there", "an allowed host while nothing of ours runs", REFUSED,
             together(*(curl(*way, f"{scheme}://{t.www.name}/canary/A2-nobody")
                      for scheme in ("http", "https") for way in ((), ("--noproxy", "*")))),
             (requested(world, t.www, "/canary/A2-nobody"), _seen(world, t.www.address, 80), _seen(world, t.www.address, 443)),
             forbid=SERVED, layers=KERNEL),
        Case("A2-nobody-there-address", "an allowed host by its address while nothing of ours runs", REFUSED,
             together(*(curl("--noproxy", "*", "--resolve", f"{t.www.name}:{port}:{t.www.address}", "--insecure",
                           f"{scheme}://{t.www.name}/canary/A2-nobody")
                      for scheme, port in (("http", 80), ("https", 443)))),
             (requested(world, t.www, "/canary/A2-nobody"), _seen(world, t.www.address, 80), _seen(world, t.www.address, 443)),
             forbid=SERVED, layers=KERNEL),
    ]  # fmt: skip


def _variables(world: World) -> list[Case]:
    t = world.targets
    url = f"http://{t.www.name}/canary/A3-"
    post = curl("-X", "POST", "--data", "x=1")
    ways = {
        "no-proxy-all": ("env", "NO_PROXY=*", "no_proxy=*", *post),
        "all-proxy-empty": ("env", "ALL_PROXY=", "HTTP_PROXY=", "http_proxy=", *post),
        "all-proxy-elsewhere": (*UNSET, f"ALL_PROXY=http://{t.literal}:80", *post),
        "option": (*post, "--noproxy", "*"),
        "none": (*UNSET, *post),
        "preproxy": (*post, "--preproxy", f"socks5h://{t.literal}:443"),
    }
    at = ("--noproxy", "*", "--insecure")
    places = (t.literal, t.private, t.other.address)
    return [
        Case("A3-variables", f"POST in {len(ways)} ways of having no proxy, or another", REFUSED,
             together(*((*way, f"{url}{name}") for name, way in ways.items())),
             (requested(world, t.www, "/canary/A3-*", "POST", "--data", "x=1"), *_tcp(world, t.literal, 80, 443)),
             expect=('-not-allowed"',), forbid=("status 200", "method=POST"), layers=EVERY),
        Case("A3-connect-to", "an allowed name at addresses that are not its own: --connect-to, --resolve", REFUSED,
             together(*(curl(*at, option, value.format(name=t.www.name, port=port, address=address),
                           f"{scheme}://{t.www.name}/canary/A3-at")
                      for scheme, port in (("http", 80), ("https", 443)) for address in places
                      for option, value in (("--connect-to", "{name}:{port}:{address}:{port}"),
                                            ("--resolve", "{name}:{port}:{address}")))),
             (*_tcp(world, t.literal, 80, 443), *_tcp(world, t.private, 80, 443),
              requested(world, t.other, "/canary/A3-at")),
             forbid=("status 200", CANARY), layers=EVERY),
    ]  # fmt: skip


def _ports(world: World) -> list[Case]:
    t = world.targets

    def every_host_address(inner: World) -> Output:
        return inner.run(
            "reader", probe(*(("tcp", a, str(inner.targets.host_port), HTTP) for a in inner.host_addresses()))
        )

    def host(inner: World) -> Output:
        server = inner.host_server()
        return inner.run("reader", probe(("tcp", server.address, str(server.port), HTTP)))

    own = (
        "import socket, struct, sys, threading\n"
        "rows = [line.split() for line in open('/proc/net/route')][1:]\n"
        "gateway = next(socket.inet_ntoa(struct.pack('<I', int(r[2], 16))) for r in rows if r[1] == '00000000')\n"
        "def ask(port):\n"
        "    try:\n"
        "        with socket.create_connection((gateway, port), 3) as c:\n"
        "            c.settimeout(3); c.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); got = c.recv(900)\n"
        "    except OSError as error: got = str(error).encode()\n"
        "    word = 'SERVED' if b' 200 ' in got[:20] or b'SSH-' in got else 'refused'\n"
        "    sys.stdout.write(f'{word} {port} {got[:300]}\\n')\n"
        f"for port in {TCP_PORTS}: threading.Thread(target=ask, args=(port,)).start()\n"
    )
    return [
        Case("A4-public", "ports 22, 25, 5432, 6379, 8080 of a public address", REFUSED,
             probe(*_attempts("tcp", t.literal, TCP_PORTS, HTTP)), _tcp(world, t.literal, *TCP_PORTS),
             expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A4-silent", "ports where the server speaks first, saying nothing", REFUSED,
             probe(*_attempts("tcp", t.literal, (22, 25))), _tcp(world, t.literal, 22, 25), expect=("REFUSED",),
             forbid=SERVED, layers=EVERY),
        Case("A4-allowed-host", "ports 22 and 8080 of a host that may be read", REFUSED,
             probe(*_attempts("tcp", t.www.address, (22, 8080), HTTP)), _tcp(world, t.www.address, 22, 8080),
             expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A4-private", "the same ports of a private address and of the metadata service", REFUSED,
             probe(*(a for place in (t.private, t.metadata) for a in _attempts("tcp", place, TCP_PORTS, HTTP))),
             (*_tcp(world, t.private, 22, 8080), *_tcp(world, t.metadata, 22, 8080)), expect=("REFUSED",),
             forbid=SERVED, layers=EVERY),
        Case("A4-gateway", "the same ports of the default gateway", REFUSED, python(own), (), expect=("refused",),
             forbid=("SERVED",), layers=EVERY),
        Case("A4-host", "every address of the host, Docker's bridge among them", REFUSED, every_host_address,
             (_host_addresses(world),), expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A4-host-listening", "Docker's bridge, at a port where the host itself serves", REFUSED, host,
             (_host(world),), expect=("REFUSED",), forbid=SERVED, layers=EVERY),
    ]  # fmt: skip


class _Sum:
    """A place that is only known when the case runs: the sum over what there is then."""

    def __init__(self, world: World) -> None:
        self._world = world

    def hits(self, origin: Origin) -> int:
        port = self._world.targets.host_port
        found = (self._world.packets(a, "tcp", port) for a in self._world.host_addresses())
        return sum(evidence.hits(origin) for evidence in found)


class _Host:
    def __init__(self, world: World) -> None:
        self._world = world

    def hits(self, origin: Origin) -> int:
        return self._world.host_server().evidence.hits(origin)


def _host_addresses(world: World) -> Canary:
    def touch() -> bool:
        found, port = world.host_addresses(), str(world.targets.host_port)
        return bool(found) and all(world.probe("tcp", address, port, HTTP) for address in found)

    return Canary("each of them", _Sum(world), touch)


def _host(world: World) -> Canary:
    return Canary("a server on the host", _Host(world), lambda: world.host_server().touch())


def _datagrams(world: World) -> list[Case]:
    t = world.targets
    long = "x" * 3000  # more than one packet holds: the container's own kernel makes fragments of it
    return [
        Case("A6-udp", "UDP 443 (QUIC), 123, 853, 9999 of a public address", REFUSED,
             probe(*_attempts("udp", t.literal, UDP_PORTS)), _udp(world, t.literal, *UDP_PORTS),
             expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A6-udp-allowed-host", "UDP 443 of a host that may be read", REFUSED,
             probe(("udp", t.www.address, "443")),
             (_seen(world, t.www.address, 443, "udp"),),
             expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A6-udp-private", "UDP 443 and 9999 of a private address and of the metadata service", REFUSED,
             probe(*(a for place in (t.private, t.metadata) for a in _attempts("udp", place, (443, 9999)))),
             (*_udp(world, t.private, 443, 9999), *_udp(world, t.metadata, 443, 9999)),
             expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A6-udp-long", "a datagram that becomes fragments", REFUSED, probe(("udp", t.literal, "9999", long)),
             _udp(world, t.literal, 9999), expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A6-fragments", "fragments of our own making, the second without ports", REFUSED,
             probe(("fragments", t.literal, "9999"), ("fragments", t.private, "443"), ("fragments", t.literal, "53")),
             (_any(world, t.literal, "udp"), _any(world, t.private, "udp")), seat=Seat.SANDBOX, layers=KERNEL,
             forbid=("REFUSED",)),
        Case("A6-source-route", "a datagram with a source route", REFUSED,
             probe(("routed", t.literal, "9999", t.private), ("routed", t.private, "9999", t.literal)),
             (_any(world, t.literal, "udp"), _any(world, t.private, "udp")), seat=Seat.SANDBOX, layers=KERNEL),
    ]  # fmt: skip


def _any(world: World, address: str, protocol: str) -> Canary:
    """Any packet of a protocol for an address."""
    return Canary(f"{protocol} {address}", world.packets(address, protocol),
                  lambda: world.probe("udp", address, "443"))  # fmt: skip


def _echo(world: World) -> list[Case]:
    t = world.targets
    places = (t.literal, t.private, t.www.address)
    canaries = tuple(
        Canary(f"echo {a}", world.packets(a, "icmp"), lambda a=a: world.probe("icmp", a))  # type: ignore[misc]  # binds the loop's value
        for a in places
    )
    return [
        Case("A7-ping", "ICMP echo with a payload through a ping socket", REFUSED,
             probe(*(("icmp", a) for a in places)), canaries, expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A7-raw", "the same through a raw socket", REFUSED, probe(*(("icmp", a, "raw") for a in places)),
             canaries, expect=("PermissionError",), forbid=SERVED, layers=EVERY),
        Case("A7-unbound", "the same by a workload with every capability", REFUSED,
             probe(*(("icmp", a, kind) for a in places for kind in ("datagram", "raw"))), canaries,
             forbid=SERVED, seat=Seat.SANDBOX, layers=KERNEL),
    ]  # fmt: skip


def _protocols(world: World) -> list[Case]:
    t = world.targets
    canaries = tuple(
        Canary(name, world.packets(t.literal, str(number)),
               lambda number=number: world.probe("raw", t.literal, str(number)))  # type: ignore[misc]  # the same
        for name, number in PROTOCOLS.items()
    )  # fmt: skip
    raw = [("raw", t.literal, str(number)) for number in PROTOCOLS.values()]
    sctp, udp_lite = (next(c for c in canaries if c.name == name) for name in ("sctp", "udp-lite"))
    return [
        Case("A8-raw", f"raw sockets of {len(PROTOCOLS)} protocols: {', '.join(PROTOCOLS)}", REFUSED, probe(*raw),
             canaries, expect=("PermissionError",), forbid=("SENT",), layers=EVERY),
        Case("A8-sockets", "SCTP, UDP-Lite and MPTCP by their own sockets", REFUSED,
             probe(("stream", t.literal, "8080", "132"), ("lite", t.literal, "9999"),
                   ("stream", t.literal, "8080", "262")),
             (sctp, udp_lite, *_tcp(world, t.literal, 8080)), forbid=SERVED, layers=EVERY),
        Case("A8-unbound", "the same packets by a workload with every capability", REFUSED,
             probe(*raw, ("lite", t.literal, "9999")), canaries, seat=Seat.SANDBOX, layers=KERNEL,
             expect=("SENT",)),
        Case("A8-packet-socket", "a packet socket, which sees and writes frames", REFUSED,
             python("import socket\n"
                    "for form in (socket.SOCK_RAW, socket.SOCK_DGRAM):\n"
                    "    try: socket.socket(socket.AF_PACKET, form, 0x300); print('OPEN')\n"
                    "    except OSError as error: print('REFUSED', error)\n"),
             (), expect=("REFUSED",), forbid=("OPEN",), layers=EVERY),
    ]  # fmt: skip


def _version_6(world: World) -> list[Case]:
    t = world.targets
    six = Canary("any IPv6", world.packets(version=6), lambda: world.probe("tcp", t.public_6, "443", HTTP))
    state = (
        "import pathlib, socket\n"
        "table = pathlib.Path('/proc/net/if_inet6')\n"
        "rows = [l.split() for l in table.read_text().splitlines()] if table.exists() else []\n"
        "print('ADDRESSES', [r[0] for r in rows if r[5] != 'lo'])\n"
        "try: print('RA', pathlib.Path('/proc/sys/net/ipv6/conf/eth0/accept_ra').read_text().strip(),\n"
        "           'disabled', pathlib.Path('/proc/sys/net/ipv6/conf/eth0/disable_ipv6').read_text().strip())\n"
        "except OSError: print('disabled 1')\n"
        "for kind, place in ((2, ('ff02::2%eth0', 9)), (2, ('ff02::1:2%eth0', 547)), (2, ('fe80::1%eth0', 9))):\n"
        "    try:\n"
        "        info = socket.getaddrinfo(*place, socket.AF_INET6, socket.SOCK_DGRAM)[0]\n"
        "        s = socket.socket(*info[:2]); s.sendto(b'x', info[4]); print('SENT', place)\n"
        "    except OSError as error: print('refused', place, error)\n"
    )
    mapped = f"::ffff:{t.literal}"
    return [
        Case("A9-direct", "TCP and UDP to a global IPv6 address", REFUSED,
             probe(("tcp", t.public_6, "443", HTTP), ("tcp", t.public_6, "80", HTTP), ("udp", t.public_6, "443")),
             (six,), expect=("REFUSED",), forbid=SERVED, layers=EVERY),
        Case("A9-link-local", "no IPv6 on the link: no address, no router, no DHCPv6", REFUSED, python(state), (six,),
             expect=("ADDRESSES []", "disabled 1"), forbid=("SENT",), layers=EVERY),
        Case("A9-mapped", "an IPv4 address in the clothes of IPv6", REFUSED,
             probe(("tcp", mapped, "8080", HTTP), ("udp", mapped, "9999"), ("tcp", f"::{t.literal}", "80", HTTP)),
             (six, *_tcp(world, t.literal, 8080), *_udp(world, t.literal, 9999)), forbid=SERVED, layers=EVERY),
        Case("A9-frames", "IPv6 frames by a workload with every capability", REFUSED,
             probe(("six", t.public_6, "443"), ("six", "ff02::2", "547"), ("six", "fe80::1", "53")), (six,),
             seat=Seat.SANDBOX, layers=KERNEL, forbid=("REFUSED",)),
    ]  # fmt: skip


def _sources(world: World) -> list[Case]:
    t = world.targets
    literal, www = _any(world, t.literal, "udp"), requested(world, t.www, "/canary/A11-added")
    syn = Canary(f"tcp {t.literal}:8080", world.packets(t.literal, "tcp", 8080),
                 lambda: world.probe("tcp", t.literal, "8080", HTTP))  # fmt: skip

    def forged(inner: World) -> Output:
        others = [
            inner.server("lister").address,
            "10.9.8.7",
            t.www.address,
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
        ]
        attempts = [
            (kind, o, t.literal, port)
            for o in others
            for kind, port in (("spoofed", "9999"), ("syn", "8080"))
        ]
        return inner.run_as(Seat.SANDBOX, probe(*attempts))

    def added(inner: World) -> Output:
        other = inner.server("lister").address
        ask = f"GET /canary/A11-added HTTP/1.0\\r\\nHost: {t.www.name}\\r\\n\\r\\n"
        words = probe(
            ("tcp", t.www.address, "80", ask), ("tcp", t.literal, "8080", HTTP), ("udp", t.literal, "9999")
        )
        shell = 'ip addr add "$0/32" dev eth0 && trap \'ip addr del "$0/32" dev eth0\' EXIT && PROBE_SOURCE="$0" "$@"'
        return inner.run_as(Seat.SANDBOX, ("sh", "-c", shell, other, *words))

    def bound(inner: World) -> Output:
        words = probe(("tcp", t.literal, "8080", HTTP), ("spoofed", "10.9.8.7", t.literal, "9999"))
        return inner.run("reader", ("env", f"PROBE_SOURCE={inner.server('lister').address}", *words))

    return [
        Case("A11-forged", "packets from another tenant's address and from strange ones, by every capability", REFUSED,
             forged, (literal, syn), forbid=("REACHED",), seat=Seat.SANDBOX, layers=KERNEL),
        Case("A11-added", "another tenant's address added to the link, and used", REFUSED, added,
             (www, syn, literal), forbid=("REACHED", "hello"), seat=Seat.SANDBOX, layers=KERNEL),
        Case("A11-bound", "another tenant's address as the workload's own source", REFUSED, bound, (syn, literal),
             expect=("PermissionError",), forbid=("REACHED", "SENT"), layers=EVERY),
    ]  # fmt: skip


def _marks(world: World) -> list[Case]:
    t = world.targets
    canaries = (*_tcp(world, t.literal, 8080), *_tcp(world, t.private, 8080))
    attempts = probe(("tcp", t.literal, "8080", HTTP), ("tcp", t.private, "8080", HTTP))
    marks = ("1", "0x1", "0xffffffff", "0x65677265", "100", "0x80000000")
    every = ("env", "PROBE_MARK=1", *attempts)
    each = f'for mark in {" ".join(marks)}; do PROBE_MARK=$mark "$@" & done; wait'
    return [
        Case("A13-mark", "a packet mark of one's own", REFUSED, every, canaries, expect=("PermissionError",),
             forbid=SERVED, layers=EVERY),
        Case("A13-unbound", f"{len(marks)} packet marks by a workload with every capability", REFUSED,
             ("sh", "-c", each, "sh", *attempts), canaries, forbid=SERVED, seat=Seat.SANDBOX, layers=KERNEL),
        *(Case(f"A13-{seat.value}", f"a packet mark by the process {seat.value} after it was taken over", REFUSED,
               every, canaries, forbid=("REACHED",), seat=seat, layers=KERNEL)
          for seat in (Seat.GATEWAY, Seat.RESOLVER)),
    ]  # fmt: skip
