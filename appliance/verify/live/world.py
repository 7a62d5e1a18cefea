"""The instance that serves as the world of the battery: a real tenant's network, canaries of our own.

Nothing of the instance is changed or stopped. A `LiveWorld` stands at no cost, so that rows can be made of
it; `up` puts the canaries and the containers there.
"""

from __future__ import annotations

import secrets
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import NoReturn

from appliance.settings import Settings
from appliance.verify import probe
from appliance.verify.case import Evidence, Image, Layer, Output, Seat
from appliance.verify.live import canaries, containers, ground, packets
from appliance.verify.live.canaries import Witness
from appliance.verify.live.containers import Engine, Resident
from appliance.verify.live.evidence import HostVisits, Names, Packets, Requests, ResidentVisits
from appliance.verify.live.ground import GroundError, Namespace
from appliance.verify.live.packets import Packet
from appliance.verify.world import Account, Packages, Server, Site, Targets

CANARIES = ("10.201.86.86", "203.0.113.86", "198.18.86.86", "198.18.86.87", "198.51.100.86", "198.18.86.88")
"""Private (RFC 1918), documentation (RFC 5737), benchmarks (RFC 2544): none of them is public."""
CANARY_6 = "2001:db8:86::86"
BRIDGE = "docker0"
CURL_WITH_VALUE = {"--request", "-X", "--data", "-H", "--data-binary"}
HTTP_PORT = 80
PATH_SECONDS = 1.0
EXCEEDED = "-exceeded"  # in a refusal's reason: a limit of the tenant's own, before anything was judged
PAUSES = (1.1, 3.0)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def targets(addresses: Sequence[str], run: str) -> Targets:
    """Names and addresses of the canaries; where a row wants a public address, one of ours stands for it."""
    private, metadata, literal, decoy, resolver, web = (addresses[i % len(addresses)] for i in range(6))
    zone = f"verify-{run}.invalid"

    def site(name: str, address: str = web) -> Site:
        return Site(f"{name}.{zone}", address)

    return Targets(
        www=site("www"), other=site("other", decoy), expired=site("expired"), self_signed=site("self-signed"),
        wrong_host=site("wrong-host"), liar=site("liar"), old_tls=site("old-tls"), asks_who=site("asks-who"),
        private=private, metadata=metadata, literal=literal, decoy=decoy, public_resolver=resolver,
        public_6=CANARY_6, zone=zone, leaks=f"leaks.{zone}", special=(),
        packages=Packages("package", site("pypi"), site("npm"), site("git")),
    )  # fmt: skip


class LiveWorld:
    """See `appliance.verify.world.World`. `tenants` maps the table's two tenants to networks of the instance.

    Every command runs as the tenant that was asked for; `lister` is another one's network, where there is
    one, in which there is a neighbour of ours.
    """

    def __init__(
        self, settings: Settings, engine: Engine, network: str, another: str | None, addresses: Sequence[str]
    ) -> None:
        self.settings = settings
        self.tenants = {"reader": network, "lister": another or network}
        self.targets = targets(addresses, secrets.token_hex(4))
        self.addresses = tuple(addresses)
        self.witness = Witness()
        self.passes_on = False
        self._engine, self._network, self._another = engine, network, another
        self._ground: ground.Ground | None = None
        self._stack = ExitStack()
        self._residents: dict[str, Resident] = {}
        self._host: dict[str, str] = {}

    @property
    def instance(self) -> str:
        """The appliance's name."""
        return self.settings.instance

    # ---- up and down

    def up(self, pools: Sequence[tuple[IPv4Network, str]]) -> None:
        """Canaries, witness, the first container. `pools` are ranges of others, each with whose it is.

        Raises `GroundError`, or `OSError`; `close` removes what there is by then.
        """
        self._engine.remove_all()
        self._stack.callback(self._engine.remove_all)
        outside = self._outside()
        wanted = [IPv4Address(address) for address in self.addresses]
        if told := ground.in_use(outside, wanted, pools):
            raise GroundError(f"{told}; choose other addresses for the canaries: --canary ADDRESS")
        canaries_there, control = Namespace(), Namespace()
        self._stack.callback(control.close)
        self._stack.callback(canaries_there.close)
        self._stack.callback(self.witness.close)
        self._ground = ground.stand(canaries_there, control, outside, self.addresses, CANARY_6)
        self._host = ground.host_addresses(ground.command("ip", "-j", "-4", "addr"))
        self.witness.watch_canaries(self._ground.canaries, (*self.addresses, CANARY_6))
        self.witness.watch_uplink(self._gateway, self.settings.uplink_interface)
        self.witness.serve_host(self._host)
        self.targets = replace(self.targets, host_port=self.witness.host_port)
        self.witness.begin()
        self.passes_on = self._path_is_open()
        self._resident("reader")

    def close(self) -> None:
        """Everything gone. Safe to repeat."""
        for resident in self._residents.values():
            with suppress(OSError):
                resident.close()
        self._residents.clear()
        self._stack.close()

    def _outside(self) -> Path:
        name = self.settings.uplink.peer_namespace
        return ground.RUN_NETNS / name if name else ground.OWN

    @property
    def _gateway(self) -> Path:
        return ground.RUN_NETNS / self.settings.namespace

    def _path_is_open(self) -> bool:
        """Whether a packet that leaves by the uplink comes to a canary: a firewall may be between."""
        mark = secrets.token_hex(8).encode()
        hardware = ground.other_end(self._gateway, self.settings.uplink_interface, self._outside())
        proof = packets.datagram(self.targets.literal, canaries.UDP_PORTS[-1], mark, self._source)
        self.witness.write(proof, to=hardware)
        deadline = time.monotonic() + PATH_SECONDS
        while time.monotonic() < deadline:
            if any(mark in p.body and p.link == ground.OUTSIDE for p in self.witness.packets):
                return True
            time.sleep(0.01)
        return False

    # ---- evidence

    def packets(
        self,
        address: str | None = None,
        protocol: str | None = None,
        port: int | None = None,
        version: int | None = None,
    ) -> Evidence:
        """See `World`. An address of the host's own is watched by its servers as well."""

        def matches(packet: Packet) -> bool:
            return (
                address in {None, packet.destination}
                and protocol in {None, packet.protocol}
                and port in {None, packet.port}
                and version in {None, packet.version}
            )

        if address in self._host:
            return HostVisits(self.witness, address)
        return Packets(self.witness, matches)

    def requests(self, host: str, method: str | None = None, path: str | None = None) -> Evidence:
        """See `World`."""
        t = self.targets
        shelf = t.packages
        sites = (t.www, t.other, t.expired, t.self_signed, t.wrong_host, t.liar, t.old_tls, t.asks_who,
                 *((shelf.pypi, shelf.npm, shelf.git) if shelf else ()))  # fmt: skip
        return Requests(self.witness, next(site for site in sites if site.name == host), method, path)

    def calls(self, account: Account, path: str = "*", *, known: bool = False) -> Evidence:
        """See `World`."""
        del path, known
        _not_here(f"the provider of {account.name}")

    def queries(self, name: str) -> Evidence:
        """See `World`."""
        return Names(self.witness, name)

    def settle(self) -> None:
        """See `World`."""

        def control(mark: bytes) -> None:
            def send() -> None:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as endpoint:
                    endpoint.sendto(mark, (ground.CONTROL_PEER, canaries.DISCARD_PORT))

            ground.inside(self._there.control, send)

        self.witness.settle(control, self._source)

    # ---- the control

    @property
    def _there(self) -> ground.Ground:
        if self._ground is None:
            raise GroundError("the canaries are not up")
        return self._ground

    @property
    def _source(self) -> str:
        return str(self.settings.uplink.address.ip)

    def probe(self, *arguments: str) -> bool:
        """Whether the canary answers the control, which also leaves its packet on the uplink."""
        if arguments[1] in self._host:
            return self.server_at(arguments[1]).touch()
        self.witness.write(packets.as_sent(arguments, self._source))
        said = ground.inside(self._there.control, lambda: probe.attempt(list(arguments)))
        return not said.startswith("REFUSED")

    def fetch(self, site: Site, path: str = "/", *options: str) -> bool:
        """The same for a request, and a question for the site's name. Canaries have no TLS."""
        method, rest = "GET", list(options)
        while rest:
            word = rest.pop(0)
            value = rest.pop(0) if word in CURL_WITH_VALUE and rest else ""
            if word in {"--request", "-X"}:
                method = value
        text = f"{method} {path} HTTP/1.0\\r\\nHost: {site.name}\\r\\n\\r\\n"
        return self.asks(site.name) and self.probe("tcp", site.address, str(HTTP_PORT), text)

    def asks(self, name: str) -> bool:
        """A question on the uplink, for nobody: that it is seen is all that there is to prove."""
        self.witness.write(packets.as_sent(["dns", self.targets.public_resolver, name], self._source))
        return True

    # ---- the workload

    def run(
        self, tenant: str, command: Sequence[str], *, image: Image = Image.PYTHON, options: Sequence[str] = ()
    ) -> Output:
        """See `World`. Whoever the row says: the tenant that was asked for is who tries."""
        if image is not Image.PYTHON:
            _not_here(f"the image {image.value}")
        if options:
            return self._engine.once(self._network, command, options)
        del tenant
        for pause in (*PAUSES, None):
            done = self._resident("reader").run(command)
            if EXCEEDED not in done.text:
                return done
            if pause is not None:
                time.sleep(pause)
        raise GroundError(f"the tenant's own limits came first: {done.text.strip()[-300:]}")

    def run_as(self, seat: Seat, command: Sequence[str], tenant: str = "reader") -> Output:
        """See `World`."""
        if seat is Seat.CONTAINER:
            return self.run(tenant, command)
        path = f"{Path(sys.executable).resolve().parent}:{PATH}"
        if seat is Seat.SANDBOX:
            return containers.run(_within(self._resident("reader").pid, command), path=path)
        uids = self.settings.uids
        uid = str({Seat.GATEWAY: uids.gateway, Seat.RESOLVER: uids.resolver, Seat.SQUID: uids.squid}[seat])
        become = ("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", "--no-new-privs",
                  "--bounding-set=-all", "--inh-caps=-all")  # fmt: skip
        return containers.run(ground.entered(self._gateway, *become, *command), path=path)

    def server(self, tenant: str) -> Server:
        """See `World`. Raises `GroundError` for another tenant where there is none."""
        if tenant != "reader" and self._another is None:
            _not_here("a second tenant")
        found = self._resident(f"server of {tenant}")
        words = ("python3", "-c", Path(probe.__file__).read_text(encoding="utf-8"), "tcp", found.address,
                 str(found.port), "GET / HTTP/1.0\\r\\n\\r\\n")  # fmt: skip
        return Server(
            found.address, found.port, ResidentVisits(found.visits), lambda: found.run(words).status == 0
        )

    def _resident(self, role: str) -> Resident:
        found = self._residents.get(role)
        if found is None or not found.alive:
            serves = role.startswith("server of ")
            network = self.tenants[role.removeprefix("server of ")]
            found = self._residents[role] = self._engine.start(network, serves=serves)
        return found

    # ---- the host

    def host_addresses(self) -> Sequence[str]:
        """See `World`."""
        return tuple(self._host)

    def host_server(self) -> Server:
        """See `World`: at Docker's bridge, or at the first address where there is no bridge."""
        address = next((a for a, link in self._host.items() if link == BRIDGE), next(iter(self._host)))
        return self.server_at(address)

    def server_at(self, address: str) -> Server:
        """The server at an address of the host's own."""
        port = self.witness.host_port
        return Server(address, port, HostVisits(self.witness, address), lambda: _answers(address, port))

    # ---- the operator

    def docker(self, *words: str) -> Output:
        """See `World`: of the containers that there are, it knows ours alone."""
        return self._engine(*words)

    def egress(self, *words: str) -> Output:
        """See `World`."""
        _not_here(f"egress {' '.join(words)}")

    def in_gateway(self, *command: str) -> Output:
        """See `World`."""
        _not_here(" ".join(command))

    def without(self, *names: str) -> AbstractContextManager[None]:
        """See `World`."""
        _not_here(f"stopping {' '.join(names) or 'every process'}")

    def at(self, layer: Layer) -> AbstractContextManager[None]:
        """See `World`."""
        _not_here(f"the layer {layer.value} without those before it")


def _not_here(what: str) -> NoReturn:
    raise GroundError(f"{what} is not to be had from the instance that serves; that needs a trial")


def _within(pid: int, command: Sequence[str]) -> tuple[str, ...]:
    """A command in a container's network namespace, all else the host's: what a free kernel could do."""
    return ("nsenter", f"--target={pid}", "--net", "--", *command)


def _answers(address: str, port: int) -> bool:
    """Whether a server on the host answers it, from a source that no packet from a link can have."""
    try:
        with socket.create_connection((address, port), 3, (canaries.LOOPBACK, 0)) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return probe.MARK in connection.recv(4096)
    except OSError:
        return False
