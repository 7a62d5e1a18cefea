"""Section A, places: the gateway's own ports, the host, neighbours, and containers that ask for more than they may.

What the admission plugin refuses is asked of Docker as whoever may use the engine would ask it; nothing of it is
ever started.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.verify.case import Canary, Case, Layer, Origin, Outcome, Output, Seat
from appliance.verify.commands import curl, probe, python, together
from appliance.verify.parts import HTTP, opened
from appliance.verify.world import Server, World

REFUSED = Outcome.REFUSED
EVERY = frozenset(Layer)
PROXIED = frozenset({Layer.GATEWAY, Layer.SQUID})
CANARY = "egress-canary"
SERVED = ("status 200", CANARY, "REACHED")
PROXY = ("--proxy", "$HTTP_PROXY")
OWN_PORTS = (53, 80, 443, 853, 2375, 2376, 3128, 5354, 8080, 8443, 9090, 9100, 15001, 15002, 15101, 50051)
ADMIN_PATHS = ("/", "/metrics", "/policy", "/admin", "/healthz", "/status", "/debug/pprof/", "/.well-known/egress/",
               "/.well-known/egress/policy", "/.well-known/egress/ca.key", "/v1/tenants")  # fmt: skip

_GATEWAY = (
    "import socket, struct, sys, threading\n"
    "rows = [line.split() for line in open('/proc/net/route')][1:]\n"
    "gateway = next(socket.inet_ntoa(struct.pack('<I', int(r[2], 16))) for r in rows if r[1] == '00000000')\n"
    "def ask(port, text):\n"
    "    try:\n"
    "        with socket.create_connection((gateway, port), 3) as c:\n"
    "            c.sendall(text.encode()); got = c.recv(4000)\n"
    "            if text.startswith('CONNECT') and got[9:12] == b'200':  # a bumping proxy says so, and refuses inside\n"
    "                c.sendall(f'GET / HTTP/1.1\\r\\nHost: {gateway}\\r\\n\\r\\n'.encode()); got = c.recv(4000) or b'closed'\n"
    "    except OSError as error: return str(error)\n"
    "    return got.decode('latin-1')\n"
    "def say(what, port, text):\n"
    "    threading.Thread(target=lambda: shown(what, ask(port, text))).start()\n"
    "def shown(what, got):\n"
    "    verdict = 'SERVED' if got[9:10] == '2' or 'SSH-' in got else 'refused'\n"
    "    sys.stdout.write(f'{verdict} {what} {got[:15].strip()} ' + got[got.find('\"reason\"'):][:40] + '\\n')\n"
)


def rows(world: World) -> list[Case]:
    """The cases of A12, A16 to A19, A23 to A26."""
    return [
        _kernel_interfaces(world),
        *_own_ports(),
        *_policy_interfaces(),
        *_hairpins(world),
        *_neighbours(world),
        *_more_than_allowed(world),
        *_relays(world),
    ]


@dataclass(frozen=True, slots=True)
class _Late:
    """Evidence of a server that is only there when the case runs."""

    world: World
    tenant: str

    def hits(self, origin: Origin) -> int:
        return _server(self.world, self.tenant).evidence.hits(origin)


HOST = ""


def _server(world: World, tenant: str) -> Server:
    return world.server(tenant) if tenant else world.host_server()


def served_by(world: World, tenant: str) -> Canary:
    """The server in a tenant's container, or on the host (`HOST`)."""
    name = f"a server of {tenant}" if tenant else "a server on the host"
    return Canary(name, _Late(world, tenant), lambda: _server(world, tenant).touch())


def _kernel_interfaces(world: World) -> Case:
    t = world.targets
    text = (
        "import ctypes, os, socket, struct\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def attempt(name, step):\n"
        "    try: step(); print('CHANGED', name)\n"
        "    except OSError as error: print('refused', name, error.strerror)\n"
        "def ask(family, kind, flags, body):\n"
        "    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as s:\n"
        "        s.settimeout(2); s.bind((0, 0))\n"
        "        s.send(struct.pack('=IHHII', 16 + len(body), kind, flags | 5, 1, 0) + body)\n"
        "        code = struct.unpack_from('=i', s.recv(4096), 16)[0]\n"
        "        if code: raise OSError(-code, os.strerror(-code))\n"
        "def check(result):\n"
        "    if result: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))\n"
        "route = struct.pack('=BBBBBBBBI', 2, 0, 0, 0, 254, 4, 253, 1, 0) + struct.pack('=HHi', 8, 4, 2)\n"
        "link = struct.pack('=BxHiII', 0, 0, 2, 0, 1)\n"
        "address = struct.pack('=BBBBi', 2, 32, 0, 0, 2) + struct.pack('=HH4s', 8, 2, bytes((10, 9, 8, 7)))\n"
        "new_link = struct.pack('=BxHiII', 0, 0, 0, 0, 0) + struct.pack('=HH6s2x', 10, 3, b'dummy\\0')\n"
        "attempt('ip route add', lambda: ask(0, 24, 0x400, route))\n"
        "attempt('ip route del', lambda: ask(0, 25, 0, route))\n"
        "attempt('ip link set down', lambda: ask(0, 16, 0, link))\n"
        "attempt('ip link add', lambda: ask(0, 16, 0x600, new_link))\n"
        "attempt('ip addr add', lambda: ask(0, 20, 0x400, address))\n"
        "attempt('ip rule add', lambda: ask(0, 32, 0x400, struct.pack('=BBBBBBBBI', 2, 0, 0, 0, 254, 0, 0, 1, 0)))\n"
        "attempt('nft flush ruleset', lambda: ask(12, 0xa02, 0, struct.pack('=BBH', 0, 0, 0)))\n"
        "attempt('iptables -F', lambda: socket.socket(2, socket.SOCK_RAW, 255).setsockopt(0, 64, b'\\0' * 84))\n"
        "for place in ('net/ipv4/ip_forward', 'net/ipv4/conf/all/rp_filter', 'net/ipv6/conf/all/disable_ipv6',\n"
        "              'net/ipv4/ip_unprivileged_port_start', 'kernel/core_pattern'):\n"
        "    value = open('/proc/sys/' + place).read()  # the same again: were it taken, nothing would be changed by it\n"
        "    attempt('sysctl ' + place, lambda: open('/proc/sys/' + place, 'w').write(value))\n"
        "for name, flags in (('user', 0x10000000), ('net', 0x40000000), ('both', 0x50000000)):\n"
        "    attempt('unshare ' + name, lambda: check(libc.unshare(flags)))\n"
        "attempt('setns', lambda: check(libc.setns(os.open('/proc/1/ns/net', os.O_RDONLY), 0)))\n"
        "attempt('setuid', lambda: os.setuid(0))\n"
        "attempt('mount', lambda: check(libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)))\n"
        "attempt('tun', lambda: os.open('/dev/net/tun', os.O_RDWR))\n"
        "attempt('promiscuous', lambda: socket.socket(17, 3, 0x300).setsockopt(263, 1, struct.pack('=iHH8s', 2, 1, 0, b'')))\n"
        "with open('/proc/self/status') as s: print(*(l.strip() for l in s if l.startswith(('Cap', 'NoNew', 'Seccomp:'))))\n"
    )
    probed = probe(("tcp", t.literal, "8080", HTTP), ("udp", t.literal, "9999"))
    command = ("sh", "-c", 'python3 -c "$0"; exec "$@"', text, *probed)
    return Case("A12-kernel", "routes, links, addresses, rules, tables, sysctls, namespaces, uids: all are somebody else's", REFUSED,
                command, (opened(world, t.literal, 8080), opened(world, t.literal, 9999, "udp")),
                expect=("refused nft flush", "refused ip route add", "REFUSED", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"),
                forbid=("CHANGED", *SERVED), layers=EVERY)  # fmt: skip


def _own_ports() -> list[Case]:
    direct = _GATEWAY + (
        f"for port in {OWN_PORTS}:\n"
        "    say(f'port {port}', port, f'GET / HTTP/1.1\\r\\nHost: {gateway}:{port}\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "for target in (gateway, gateway + ':15001', gateway + ':3128', '127.0.0.1:15001', '127.0.0.1', 'localhost', '198.18.83.2',\n"
        "               '198.18.83.1', '198.18.88.2', '198.18.88.1', '[::1]', 'gateway.egress.internal:3128', 'gateway.egress.internal:22'):\n"
        "    say('get ' + target, 3128, f'GET http://{target}/ HTTP/1.1\\r\\nHost: {target}\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "    name = target if target.rpartition(':')[2].isdigit() and not target.endswith('::1]') else target + ':443'\n"
        "    say('connect ' + name, 3128, f'CONNECT {name} HTTP/1.1\\r\\nHost: {name}\\r\\n\\r\\n')\n"
    )
    paths = _GATEWAY + (
        f"for path in {ADMIN_PATHS}:\n"
        "    for host in (gateway, 'gateway.egress.internal'):\n"
        "        for port in (80, 3128):\n"
        "            text = f'GET {path} HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n'\n"
        "            say(f'{host}:{port}{path}', port, text)\n"
    )
    return [
        Case("A16-ports", f"the gateway's own {len(OWN_PORTS)} likely ports, and itself through itself", REFUSED,
             python(direct), (), expect=("refused port 15001", "refused get", "refused connect", '"reason"'), forbid=("SERVED",),
             layers=EVERY),
        Case("A16-paths", "administration, metrics and health pages of the gateway's own name", REFUSED, python(paths), (),
             expect=("refused gateway.egress.internal:80/metrics",), forbid=("SERVED",), layers=EVERY),
    ]  # fmt: skip


def _policy_interfaces() -> list[Case]:
    text = (
        "import os, socket, stat\n"
        "names = ['supervisor', 'netd', 'broker', 'resolver', 'gateway-0', 'gateway-1', 'squid']\n"
        "places = [f'/run/{d}/{n}.sock' for d in ('egress', 'egress-lab/run', 'docker/plugins') for n in names]\n"
        "places += ['/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/docker/plugins/egress.sock']\n"
        "places += ['\\0' + n for n in names]\n"
        "for root in ('/run', '/var/run', '/tmp', '/var/lib'):\n"
        "    for folder, _, files in os.walk(root):\n"
        "        for name in files:\n"
        "            try:\n"
        "                if stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode): places.append(os.path.join(folder, name))\n"
        "            except OSError: pass\n"
        "for place in places:\n"
        "    try: socket.socket(socket.AF_UNIX).connect(place); print('OPEN', place)\n"
        "    except OSError as error: print('refused', repr(place), error.strerror)\n"
        "for place in ('/etc/egress', '/var/lib/egress', '/var/log/egress', '/run/egress', '/run/egress-lab', '/var/lib/docker'):\n"
        "    print('SEEN' if os.path.exists(place) else 'absent', place)\n"
        "with open('/proc/net/unix') as table: print('abstract', [l.split()[-1] for l in table if '@' in l])\n"
    )
    return [
        Case("A17-sockets", "control sockets, Docker's socket, our directories: none is to be seen", REFUSED,
             ("sh", "-c", 'exec python3 -c "$0"', text), (), expect=("refused '/var/run/docker.sock'", "absent /etc/egress", "abstract []"),
             forbid=("OPEN", "SEEN"), layers=EVERY),
    ]  # fmt: skip


def _hairpins(world: World) -> list[Case]:
    names = ("localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "a.localhost", "127.0.0.1",
             "127.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "host.docker.internal", "gateway.docker.internal",
             "kubernetes.docker.internal")  # fmt: skip

    def aliases(inner: World) -> Output:
        port = inner.host_server().port
        urls = [f"http://{name}:{p}/" for name in names for p in (80, port)]
        return inner.run("reader", together(*(curl(*PROXY, "--noproxy", "", url) for url in urls)))

    def by_name(inner: World) -> Output:
        port = inner.host_server().port
        lines = [curl(*way, f"http://{name}:{port}/") for name in ("host.docker.internal", "web.example.com")
                 for way in ((), ("--noproxy", "*"))]  # fmt: skip
        given = (
            "--add-host",
            "host.docker.internal:host-gateway",
            "--add-host",
            "web.example.com:host-gateway",
        )
        return inner.run("reader", together(*lines), options=given)

    def published(inner: World) -> Output:
        return refused_options(
            inner, (("--publish", "127.0.0.1::8080"), ("--publish", "8080"), ("--publish-all",))
        )

    host = served_by(world, HOST)
    return [
        Case("A18-aliases", f"{len(names)} ways to call this machine, through the proxy", REFUSED, aliases, (host,),
             expect=("status 403",), forbid=SERVED, layers=PROXIED),
        Case("A18-host-gateway", "host.docker.internal, and an allowed name, led to the host by Docker itself", REFUSED, by_name, (host,),
             forbid=SERVED),
        Case("A18-published", "a published port", REFUSED, published, (), expect=("refused --publish 127",), forbid=("ADMITTED",)),
    ]  # fmt: skip


def _neighbours(world: World) -> list[Case]:
    def direct(tenant: str) -> Case:
        def attempt(inner: World) -> Output:
            server = inner.server(tenant)
            words = ("tcp", server.address, str(server.port), HTTP)
            return inner.run(
                "reader", probe(words, ("udp", server.address, "9999"), ("icmp", server.address))
            )

        whose = "another tenant's" if tenant != "reader" else "the same tenant's"
        return Case(f"A19-{tenant}", f"{whose} container: TCP, UDP, echo", REFUSED, attempt, (served_by(world, tenant),),
                    expect=("REFUSED",), forbid=SERVED, layers=EVERY)  # fmt: skip

    def proxied(inner: World) -> Output:
        server = inner.server("lister")
        place = f"{server.address}:{server.port}"
        return inner.run("reader", together(
            curl(*PROXY, f"http://{place}/"), curl(*PROXY, "--proxytunnel", f"http://{place}/"),
            curl("--noproxy", "*", "-H", f"Host: {world.targets.www.name}", f"http://{place}/"),
        ))  # fmt: skip

    def unbound(inner: World) -> Output:
        server = inner.server("lister")
        attempts = [("tcp", server.address, str(server.port), HTTP), ("spoofed", server.address, server.address, "9999"),
                    ("syn", world.targets.www.address, server.address, str(server.port)), ("icmp", server.address, "raw")]  # fmt: skip
        return inner.run_as(Seat.SANDBOX, probe(*attempts))

    return [
        direct("lister"),
        direct("reader"),
        Case("A19-proxied", "another tenant's container, through the gateway", REFUSED, proxied, (served_by(world, "lister"),),
             expect=("status 403",), forbid=SERVED, layers=PROXIED),
        Case("A19-unbound", "another tenant's container, by a workload with every capability", REFUSED, unbound,
             (served_by(world, "lister"),), forbid=("REACHED",), seat=Seat.SANDBOX, layers=frozenset({Layer.KERNEL})),
    ]  # fmt: skip


def refused_options(world: World, options: Sequence[Sequence[str]]) -> Output:
    """Ask for a container with each of these options; a line each: `refused` by the admission plugin.

    `not made` is what Docker's own client does not even ask for.
    """
    said = []
    for words in options:
        done = world.run("reader", ("true",), options=words)
        verdict = (
            "ADMITTED" if done.status != 125 else "not made"
        )  # docker run(1): the engine or the client refused
        if "authorization denied" in done.text:
            verdict = "refused"
        said.append(f"{verdict} {' '.join(words)}: {' '.join(done.text.split())[:160]}")
    return Output(0, "\n".join(said))


def _more_than_allowed(world: World) -> list[Case]:
    power = (
        ("--privileged",), ("--cap-add", "NET_ADMIN"), ("--cap-add", "NET_RAW"), ("--cap-add", "ALL"), ("--user", "0:0"),
        ("--security-opt", "seccomp=unconfined"), ("--security-opt", "apparmor=unconfined"), ("--pid", "host"), ("--userns", "host"),
        ("--uts", "host"), ("--device", "/dev/net/tun"), ("--sysctl", "net.ipv4.ip_forward=1"),
    )  # fmt: skip
    engine = (
        ("-v", "/var/run/docker.sock:/var/run/docker.sock"), ("-v", "/run:/run"), ("-v", "/:/host"),
        ("--mount", "type=bind,src=/var/run,dst=/x"), ("-v", "/proc:/p"), ("-v", "/etc/egress:/e"), ("-v", "/var/lib/docker:/d"),
    )  # fmt: skip
    shared = (
        ("--ipc", "host"), ("--ipc", "shareable"), ("-v", "/tmp:/shared"), ("-v", "/dev/shm:/dev/shm"),
        ("--mount", "type=volume,src=verify-shared,dst=/shared,volume-driver=elsewhere"), ("--mount", "type=bind,src=/mnt,dst=/m,bind-propagation=shared"),
    )  # fmt: skip

    def second_networks(inner: World) -> Output:
        other = inner.tenants["lister"]
        said = [
            refused_options(
                inner,
                (("--network", "bridge"), ("--network", other), ("--network", "host"), ("--network", "none")),
            ).text
        ]
        return Output(0, "\n".join(said))

    def connected(inner: World) -> Output:
        """Of a container that runs already, as an operator in a hurry would do it."""
        inner.server("lister")
        name = inner.docker("ps", "-q", "--filter", f"network={inner.tenants['lister']}").text.split()[0]
        lines = []
        for network in (inner.tenants["reader"], "bridge", "host"):
            done = inner.docker("network", "connect", network, name)
            lines.append(f"{'refused' if done.status else 'ADMITTED'} {network}: {done.text.strip()}")
        return Output(0, "\n".join(lines))

    def borrowed(inner: World) -> Output:
        """Another container's namespaces and volumes: a neighbour without a gateway, or with another one."""
        inner.server("lister")
        name = inner.docker("ps", "-q", "--filter", f"network={inner.tenants['lister']}").text.split()[0]
        return refused_options(inner, (("--network", f"container:{name}"), ("--ipc", f"container:{name}"), ("--pid", f"container:{name}"),
                                       ("--volumes-from", name), ("--link", name)))  # fmt: skip

    def asked(options: Sequence[Sequence[str]]) -> Callable[[World], Output]:
        return lambda inner: refused_options(inner, options)

    return [
        Case("A12-power", "capabilities, root, no filters, devices: a container is not made with them", REFUSED, asked(power), (),
             expect=tuple(f"refused {' '.join(o)}" for o in power), forbid=("ADMITTED",)),
        Case("A23-engine", "Docker's socket, or the directory that it is in", REFUSED, asked(engine), (),
             expect=tuple(f"refused {' '.join(o)}" for o in engine), forbid=("ADMITTED",)),
        Case("A23-host-network", "a second network: the host's, Docker's bridge, another tenant's", REFUSED, second_networks, (),
             expect=("--network host", "--network bridge", f"refused --network {world.tenants['lister']}"), forbid=("ADMITTED",)),
        Case("A23-siblings", "another container's network, processes, memory, volumes", REFUSED, borrowed, (),
             expect=("--network container", "refused --ipc container", "refused --pid container", "refused --volumes-from", "refused --link"), forbid=("ADMITTED",)),
        Case("A24-dual-homed", "a running container connected to a second network", REFUSED, connected, (),
             expect=("refused",), forbid=("ADMITTED",)),
        Case("A26-shared", "memory and files shared with an unfiltered neighbour", REFUSED, asked(shared), (),
             expect=tuple(f"refused {' '.join(o)}" for o in shared), forbid=("ADMITTED",)),
    ]  # fmt: skip


def _relays(world: World) -> list[Case]:
    t = world.targets
    relay = (
        "import os, socket, sys, threading, urllib.parse\n"
        "place = os.environ['HTTP_PROXY'].removeprefix('http://').rpartition(':')\n"
        "gateway = (place[0], int(place[2]))\n"
        "def pump(a, b):\n"
        "    try:\n"
        "        while data := a.recv(65536): b.sendall(data)\n"
        "    except OSError: pass\n"
        "    try: b.shutdown(socket.SHUT_WR)\n"
        "    except OSError: pass\n"
        "def serve(listener):\n"
        "    while True:\n"
        "        inner = listener.accept()[0]; outer = socket.create_connection(gateway)\n"
        "        for pair in ((inner, outer), (outer, inner)): threading.Thread(target=pump, args=pair, daemon=True).start()\n"
        "listener = socket.create_server(('127.0.0.1', 0))\n"
        "threading.Thread(target=serve, args=(listener,), daemon=True).start()\n"
        "def ask(name, *texts):\n"
        "    try:\n"
        "        with socket.create_connection(listener.getsockname(), 5) as c:\n"
        "            got = b''\n"
        "            for text in texts:\n"
        "                c.sendall(text.encode()); got = c.recv(4000) or b'HTTP/1.1 closed'\n"
        "                if got[9:12] != b'200': break\n"
        "            print(name, got[9:12].decode(), got[got.find(b'\"reason\"'):][:40])\n"
        "    except OSError as error: print(name, 'closed', error)\n"
        "inside = 'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'  # a bumping proxy says 200 to CONNECT, and refuses inside\n"
        f"for port in (443, 80, 22): ask(f'literal {{port}}', f'CONNECT {t.literal}:{{port}} HTTP/1.1\\r\\nHost: {t.literal}:{{port}}\\r\\n\\r\\n', inside)\n"
        f"ask('private', 'CONNECT {t.private}:443 HTTP/1.1\\r\\nHost: {t.private}:443\\r\\n\\r\\n', inside)\n"
        f"ask('www 22', 'CONNECT {t.www.name}:22 HTTP/1.1\\r\\nHost: {t.www.name}:22\\r\\n\\r\\n')\n"
        f"ask('nested', 'CONNECT {t.www.name}:80 HTTP/1.1\\r\\nHost: {t.www.name}:80\\r\\n\\r\\n', 'CONNECT {t.literal}:443 HTTP/1.1\\r\\nHost: {t.literal}:443\\r\\n\\r\\n')\n"
        f"ask('post', 'POST http://{t.www.name}/canary/A25-post HTTP/1.1\\r\\nHost: {t.www.name}\\r\\nContent-Length: 1\\r\\n\\r\\nx')\n"
    )

    def dual_homed(inner: World) -> Output:
        """A server in a container of the same tenant, asked to pass something on: nobody reaches it."""
        server = inner.server("reader")
        place = f"{server.address}:{server.port}"
        lines = [("curl", "--noproxy", "", "--proxy", f"{scheme}://{place}", "-sS", "--max-time", "5", "-w", "\nstatus %{http_code}\n", url)
                 for scheme in ("http", "socks5h", "socks4a") for url in (f"http://{t.literal}/", f"https://{t.www.name}/")]  # fmt: skip
        return inner.run("reader", together(*lines))

    post = Canary(f"POST {t.www.name}/canary/A25-post", world.requests(t.www.name, "POST", "/canary/A25-post"),
                  lambda: world.fetch(t.www, "/canary/A25-post", "-X", "POST", "--data", "x"))  # fmt: skip
    return [
        Case("A24-relay", "a container of the same tenant used as a proxy", REFUSED, dual_homed,
             (served_by(world, "reader"), opened(world, t.literal, 80)), forbid=SERVED, layers=EVERY),
        Case("A25-relay", "a relay inside the sandbox that sends CONNECT on, once and nested", REFUSED, ("sh", "-c", 'exec python3 -c "$0"', relay),
             (*(opened(world, t.literal, port) for port in (443, 80, 22)), opened(world, t.private, 443), opened(world, t.www.address, 22), post),
             expect=("literal 443 403", "private 403", "www 22 403", "post 403"), forbid=(CANARY, "200 b'\"reason", "literal 443 200", "private 200"),
             layers=PROXIED),
    ]  # fmt: skip
