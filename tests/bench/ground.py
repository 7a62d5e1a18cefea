"""The closed ground of the comparisons: one origin, and to it the appliance's way, each peer's, and the direct one.

Every peer has a gateway namespace and a client namespace of its own, laid out as the appliance lays out its own:
client —veth→ gateway (TPROXY) —veth→ the lab's Internet. Our own way is the real appliance and real containers.
Nothing here leads to the host or past it, which is proved before anything is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import origin
from tests.bench.origin import SITE
from tests.lab import certificates, children, internet, nameserver, namespaces
from tests.lab.lab import Lab
from tests.lab.namespaces import inside, run

PROXY_CPU, LOAD_CPU = 0, 1
NICE = -10  # what the appliance takes for itself: all who are compared have the same
PLAIN_PORT, TLS_PORT, EXPLICIT_PORT = 3129, 3130, 3128
WORK = internet.STATE / "bench"
HOSTS = WORK / "hosts"
CLIENT = WORK / "load"
DATA = Path(__file__).with_name("data")
_MARK, _TABLE = "1", "100"


def pinned(cpu: int, argv: Sequence[str]) -> tuple[str, ...]:
    """The command on one processor, before the rest of the machine as the appliance is, to be run in a new session.

    Where the kernel weighs sessions (sched(7), autogroup), the session's value decides and not the process's.
    """
    before = f'echo {NICE} 2>/dev/null >/proc/self/autogroup; exec taskset -c {cpu} nice -n {NICE} "$@"'
    return ("sh", "-c", before, "sh", *argv)


def knowing(argv: Sequence[str]) -> tuple[str, ...]:
    """The command with the lab's names in /etc/hosts, in a mount namespace of its own; the pid stays the same."""
    bind = f'mount --bind {HOSTS} /etc/hosts && exec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "sh", "-c", bind, "sh", *argv)


@dataclass(frozen=True, slots=True)
class Way:
    """A peer's own way to the origin; `number` tells its addresses from the others'."""

    name: str
    number: int

    @property
    def gateway(self) -> str:
        return f"{internet.PREFIX}{self.name}"

    @property
    def client(self) -> str:
        return f"{internet.PREFIX}{self.name}-c"

    @property
    def address(self) -> str:
        """The gateway's on the client's link: where one asks who is asked for a proxy by name."""
        return f"10.99.{self.number}.1"

    def lay(self, intercept: str) -> None:
        """Make both namespaces; `intercept` is the nft statement that takes a port, with `{port}` in it."""
        uplink = f"198.18.{100 + self.number}"
        for namespace in (self.gateway, self.client):
            run("ip", "netns", "add", namespace)
        for inner, place, outer, peer in (
            ("uplink", self.gateway, f"b-{self.name}", internet.INTERNET),
            ("client", self.gateway, "link0", self.client),
        ):
            run("ip", "-n", place, "link", "add", inner, "type", "veth", "peer", "name", outer, "netns", peer)
        steps = {
            internet.INTERNET: f"""
                addr add {uplink}.1/30 dev b-{self.name}
                link set b-{self.name} up
            """,
            self.gateway: f"""
                link set lo up
                addr add {uplink}.2/30 dev uplink
                link set uplink up
                addr add {self.address}/24 dev client
                link set client up
                route add default via {uplink}.1
                rule add fwmark {_MARK} lookup {_TABLE}
                route add local 0.0.0.0/0 dev lo table {_TABLE}
            """,
            self.client: f"""
                link set lo up
                addr add 10.99.{self.number}.2/24 dev link0
                link set link0 up
                route add default via {self.address}
            """,
        }
        for namespace, lines in steps.items():
            for line in filter(None, map(str.strip, lines.splitlines())):
                run("ip", "-n", namespace, *line.split())
        settings = ("net.ipv4.ip_forward=0", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
                    "net.core.somaxconn=4096", "net.ipv4.ip_local_port_range=16384 65535")  # fmt: skip
        for namespace in (self.gateway, self.client):
            run(*inside(namespace, "sysctl", "-qw", *settings))
        # As the appliance has it towards its containers (`netns.listening`).
        run(*inside(self.gateway, "sysctl", "-qw", "net.ipv4.tcp_congestion_control=reno"))
        run(*inside(self.gateway, "nft", "-f", "-"), stdin=intercept)

    def pids(self) -> list[int]:
        """Every process of the proxy."""
        return [int(pid) for pid in run("ip", "netns", "pids", self.gateway).split()]


def by_tproxy() -> str:
    """How the appliance's own rules take a connection: the original destination is kept."""
    taken = "\n".join(
        f'iifname "client" tcp dport {port} tproxy to :{local} meta mark set {_MARK} accept'
        for port, local in ((80, PLAIN_PORT), (443, TLS_PORT))
    )
    return f"table ip bench {{ chain take {{ type filter hook prerouting priority mangle\n{taken}\n}}\n}}\n"


def by_redirect() -> str:
    """For who asks for the original destination with SO_ORIGINAL_DST."""
    taken = "\n".join(
        f'iifname "client" tcp dport {port} redirect to :{local}'
        for port, local in ((80, PLAIN_PORT), (443, TLS_PORT))
    )
    return f"table ip bench {{ chain take {{ type nat hook prerouting priority dstnat\n{taken}\n}}\n}}\n"


class Ground(Lab):
    """The lab's Internet with what a comparison needs of it: names, certificates and one quick origin.

    None of the lab's witnesses and canaries: they look at every packet.
    """

    def _put_up(self) -> None:
        internet.STATE.mkdir(parents=True)
        WORK.mkdir()
        WORK.chmod(0o755)
        HOSTS.write_text("".join(f"{s.address} {s.name}\n" for s in (SITE, internet.BENCH_TUNNEL)))
        libraries = ("-lssl", "-lcrypto", "-lpthread")
        run(
            "gcc", "-O2", "-Wall", "-Werror", "-o", str(CLIENT), str(DATA / "load.c"), *libraries, timeout=120
        )
        namespaces.create()
        self.assert_closed()
        certificates.write_all()
        nameserver.write()
        origin.write(WORK / "origin")
        children.start("dnsmasq", pinned(LOAD_CPU, nameserver.command()), internet.INTERNET)
        children.start("origin", pinned(LOAD_CPU, origin.command(WORK / "origin")), internet.INTERNET)
        far_end = (
            str(CLIENT),
            "serve",
            str(WORK / "origin" / "bulk.bin"),
            "-",
            internet.BENCH_TUNNEL.address,
        )
        children.start("far-end", pinned(LOAD_CPU, far_end), internet.INTERNET)
        children.until_ready("dnsmasq", lambda: SITE.address in self.dig(SITE.name))
        children.until_ready("origin", lambda: self.fetch(SITE.name, SITE.address, "/o/1").returncode == 0)
