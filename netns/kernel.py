"""The appliance's part of the kernel, with what is attached to it. Blocking; one thread at a time.

`start` reads back from the kernel what an earlier netd put there; nothing here is kept on disk.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from appliance.links import link_mark
from appliance.listeners import listening_pid
from appliance.settings import Settings
from netns import namespaces, nft
from netns.apply import apply, reason
from netns.diff import difference
from netns.held import HeldNamespace
from netns.naming import alias, comment, container_interface, is_mac, tenant_interface
from netns.observe import ipv6_discards, links, observe, remembered
from netns.own_links import OwnLinks, Standing
from netns.plan import Wanted, gateway_ruleset, plan
from netns.plumbing import Attachment, Network, PlumbingError
from netns.rtnetlink import LINK_SCOPE, NUD_PERMANENT, Sockets, delete_link
from netns.ruleset import elements, steer
from netns.shares import UNSTEERED, Steering
from netns.sockets import close_answers
from netns.state import Side
from netns.steps import Step

_FAILURES = (NetlinkError, OSError, nft.NftError)


@dataclass(frozen=True, slots=True)
class Live:
    """A container's link that exists: the gateway's end by name and index."""

    attachment: Attachment
    interface: str
    index: int


@dataclass(frozen=True, slots=True)
class Converged:
    """What `converge` did, and which endpoints it found gone with their containers."""

    steps: tuple[Step, ...]
    vanished: tuple[str, ...]


class Kernel:
    """Every method raises `PlumbingError` and leaves nothing half made.

    `name_servers` is asked each time the rules are computed, because the host's own may change. `steering` is
    in force from the start.
    """

    def __init__(
        self,
        settings: Settings,
        name_servers: Callable[[], tuple[tuple[IPv4Address, int], ...]],
        steering: Steering = UNSTEERED,
    ) -> None:
        self._settings = settings
        self._name_servers = name_servers
        self._sockets = Sockets(settings.namespace, settings.uplink.peer_namespace)
        self._held = HeldNamespace(settings.namespace)
        self._exceptions: tuple[tuple[IPv4Network, int], ...] = ()
        self._steering = steering
        self._squid_served = bool(steering.fallen)
        self.networks: tuple[Network, ...] = ()
        self.links: tuple[Live, ...] = ()
        self.own = OwnLinks(
            lambda: (Standing(x.interface, x.index, alias(x.attachment)) for x in self.links), time.monotonic
        )

    def start(self) -> Converged:
        """Read back what the kernel remembers, then `converge`."""
        try:
            memory = remembered(self._settings.namespace, self._settings.instance, self._sockets)
        except _FAILURES as error:
            raise PlumbingError(
                f"cannot read the state of namespace {self._settings.namespace}: {reason(error)}"
            ) from error
        self.networks = memory.networks
        self.links = tuple(Live(*link) for link in memory.links)
        self._squid_served = self._squid_served or bool(self.links)  # an earlier netd may have let it
        return self.converge()

    def steer(self, steering: Steering) -> None:
        """Let Squid serve some workers' shares, in one transaction; `converge` keeps to it from now on."""
        self._steering = steering
        self._squid_served = self._squid_served or bool(steering.fallen)
        text = steer(gateway_ruleset(self._settings, self._wanted()))
        try:
            with namespaces.entered(self._settings.namespace):
                nft.change(text)
        except _FAILURES:  # no such table, or another one than ours
            self.converge()

    def set_exceptions(self, exceptions: tuple[tuple[IPv4Network, int], ...]) -> Converged:
        """Take over the operator's exceptions (range, TCP port)."""
        self._exceptions = exceptions
        return self.converge()

    def converge(self) -> Converged:
        """Compare what should be there with what is, and do the difference."""
        try:
            named = self._held.keep()
            vanished = self._forget_vanished()
            steps = self._compare(self.links)
        except _FAILURES as error:
            raise PlumbingError(f"cannot compare the kernel with the plan: {reason(error)}") from error
        apply(steps, self._sockets)
        return Converged((*named, *steps), vanished)

    def drift(self) -> tuple[Step, ...]:
        """What `converge` would do now; nothing is changed. Raises `PlumbingError`."""
        try:
            gone = self._vanished()
            return self._compare(tuple(live for live in self.links if live not in gone))
        except _FAILURES as error:
            raise PlumbingError(f"cannot compare the kernel with the plan: {reason(error)}") from error

    def _compare(self, live_links: tuple[Live, ...]) -> tuple[Step, ...]:
        wanted = replace(
            self._wanted(), links=tuple((live.attachment, live.interface) for live in live_links)
        )
        observed = observe(plan(self._settings, wanted, nft.canonical), self._sockets)
        return difference(plan(self._settings, wanted, nft.canonical, observed.counts), observed)

    def _wanted(self) -> Wanted:
        """All but the links."""
        return Wanted(self.networks, (), self._exceptions, self._name_servers(), self._steering)

    def add_network(self, network: Network) -> None:
        """Accept a network; the same again is no change."""
        comment(network)
        others = tuple(n for n in self.networks if n.id != network.id)
        uplink = self._settings.uplink.address.network
        if network.gateway not in network.pool:
            raise PlumbingError(
                f"network {network.id[:12]}: gateway {network.gateway} is not in {network.pool}"
            )
        for pool, whose in ((uplink, "the uplink's"), *((n.pool, f"network {n.id[:12]}'s") for n in others)):
            if pool.overlaps(network.pool):
                raise PlumbingError(
                    f"network {network.id[:12]}: {network.pool} overlaps {whose} {pool}; use a free --subnet"
                )
        before, self.networks = self.networks, (*others, network)
        try:
            self.converge()
        except PlumbingError:
            self.networks = before
            raise

    def remove_network(self, identity: str) -> None:
        """Forget a network that has no container."""
        users = [live for live in self.links if live.attachment.network == identity]
        if users:
            raise PlumbingError(
                f"network {identity[:12]}: {len(users)} container(s) are attached; stop them first"
            )
        if any(network.id == identity for network in self.networks):
            self.networks = tuple(network for network in self.networks if network.id != identity)
            self.converge()

    def attach(self, attachment: Attachment) -> Live:
        """Make a container's link; the same again gives the one that exists."""
        standing = next((x for x in self.links if x.attachment.endpoint == attachment.endpoint), None)
        if standing is not None and self._stands(standing):
            if _core(standing.attachment) != _core(attachment):
                raise PlumbingError(
                    f"endpoint {attachment.endpoint[:12]} exists with another address or network"
                )
            return standing
        if standing is not None:
            self.detach(attachment.endpoint)
        self._check(attachment)
        interface = tenant_interface(attachment.endpoint, {live.interface for live in self.links})
        index = 0
        self.own.begin(interface)
        try:
            index = self._create(attachment, interface)
        except _FAILURES as error:
            self._undo(attachment, interface)
            raise PlumbingError(
                f"cannot make link {interface} for {attachment.address}: {reason(error)}; see: egress doctor"
            ) from error
        finally:
            self.own.end(interface, index)
        live = Live(attachment, interface, index)
        self.links = (*self.links, live)
        return live

    def detach(self, endpoint: str) -> bool:
        """Remove a container's link; whether there was one."""
        live = next((x for x in self.links if x.attachment.endpoint == endpoint), None)
        if live is None:
            return False
        self.links = tuple(x for x in self.links if x is not live)
        # First the link, so that no packet comes in by it; then what let its packets in.
        self.own.begin(live.interface, live.index)
        try:
            self._undo(live.attachment, live.interface)
        finally:
            self.own.end(live.interface, live.index)
        if self._squid_served:
            # It would answer, in its own time, what this container asked, in the name of the address's next.
            with suppress(*_FAILURES), namespaces.entered(self._settings.namespace):
                close_answers(live.attachment.address)
        return True

    def describe(self, endpoint: str, container: str, name: str, run: str) -> Live | None:
        """Remember what a container is called; the link, None when it is unknown."""
        for live in self.links:
            if live.attachment.endpoint == endpoint:
                told = replace(
                    live, attachment=replace(live.attachment, container=container, name=name, run=run)
                )
                self.links = tuple(told if x is live else x for x in self.links)
                return told
        return None

    def counters(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes dropped, by reason; `ipv6-dropped` is what links without IPv6 discarded."""
        try:
            with namespaces.entered(self._settings.namespace):
                counts = nft.counters("inet", self._settings.instance)
                return {**counts, "ipv6-dropped": (ipv6_discards(), 0)}
        except _FAILURES as error:
            raise PlumbingError(f"cannot read the counters: {reason(error)}") from error

    def close(self) -> None:
        """Close the netlink sockets; the kernel keeps everything."""
        self._held.close()
        self._sockets.close()

    def _check(self, attachment: Attachment) -> None:
        network = next((n for n in self.networks if n.id == attachment.network), None)
        short = attachment.endpoint[:12]
        if network is None:
            raise PlumbingError(
                f"endpoint {short}: network {attachment.network[:12]} is unknown to the appliance"
            )
        if network.tenant != attachment.tenant:
            raise PlumbingError(
                f"endpoint {short}: the network is tenant {network.tenant}'s, not {attachment.tenant}'s"
            )
        if attachment.address not in network.pool or attachment.address == network.gateway:
            raise PlumbingError(
                f"endpoint {short}: {attachment.address} is no container address of {network.pool}"
            )
        holder = next((x for x in self.links if x.attachment.address == attachment.address), None)
        if holder is not None and self._stands(holder):
            raise PlumbingError(
                f"endpoint {short}: {attachment.address} is endpoint {holder.attachment.endpoint[:12]}'s"
            )
        if holder is not None:
            self.detach(holder.attachment.endpoint)
        if not is_mac(attachment.mac):
            raise PlumbingError(f"endpoint {short}: {attachment.mac!r} is no MAC address")
        alias(attachment)

    def _create(self, attachment: Attachment, interface: str) -> int:
        gateway = self._sockets.of(Side.GATEWAY)
        self.own.port = self._sockets.port(Side.GATEWAY)
        engine = engine_namespace(self._settings.docker.socket)
        peer = {"ifname": container_interface(interface), "address": attachment.mac}
        try:
            gateway.link("add", ifname=interface, kind="veth", peer={**peer, "net_ns_fd": engine})
        finally:
            os.close(engine)
        index = self._sockets.index(Side.GATEWAY, interface)
        if index is None:
            raise OSError("the kernel made no link")
        # Let the source in before the link is up: nothing else of that name or address is there yet.
        self._elements("add", attachment, interface)
        gateway.link("set", index=index, ifalias=alias(attachment), state="up")
        address = str(attachment.address)
        gateway.neigh(
            "add",
            ifindex=index,
            dst=address,
            lladdr=attachment.mac,
            state=NUD_PERMANENT,
            family=socket.AF_INET,
        )
        gateway.route("replace", dst=f"{address}/32", oif=index, scope=LINK_SCOPE, family=socket.AF_INET)
        return index

    def _undo(self, attachment: Attachment, interface: str) -> None:
        """Take a link away as far as it exists; what is left, `converge` takes away later."""
        with suppress(*_FAILURES):
            index = self._sockets.index(Side.GATEWAY, interface)
            if index is not None:
                delete_link(self._sockets.of(Side.GATEWAY), index)
        with suppress(*_FAILURES):
            self._elements("delete", attachment, interface)

    def _elements(self, verb: str, attachment: Attachment, interface: str) -> None:
        table = self._settings.instance
        rules = gateway_ruleset(self._settings, self._wanted())
        items = elements(rules, interface, attachment.address, link_mark(attachment.endpoint))
        # Adding first makes an absent element no error to delete.
        verbs = ("add", "delete") if verb == "delete" else ("add",)
        text = "".join(
            f"{v} element inet {table} {name} {{ {item} }}\n" for v in verbs for name, item in items
        )
        self._sockets.changes(Side.GATEWAY).change(text)

    def _stands(self, live: Live) -> bool:
        try:
            return self._sockets.index(Side.GATEWAY, live.interface) == live.index
        except _FAILURES:
            return False

    def _vanished(self) -> tuple[Live, ...]:
        present = set()
        if self._sockets.exists(Side.GATEWAY):
            present = {(x.name, x.index) for x in links(self._sockets.of(Side.GATEWAY)).values()}
        return tuple(live for live in self.links if (live.interface, live.index) not in present)

    def _forget_vanished(self) -> tuple[str, ...]:
        gone = self._vanished()
        self.links = tuple(live for live in self.links if live not in gone)
        return tuple(live.attachment.endpoint for live in gone)


def _core(attachment: Attachment) -> Attachment:
    return replace(attachment, container="", name="", run="")


def engine_namespace(docker_socket: Path) -> int:
    """An open descriptor of the network namespace in which dockerd looks for the container's end.

    dockerd may run in a namespace of its own: that of who listens on its socket. Where nobody
    does it is our own.
    """
    with suppress(OSError):
        dockerd = listening_pid(str(docker_socket), within=1.0)
        if dockerd is not None:
            return os.open(f"/proc/{dockerd}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
