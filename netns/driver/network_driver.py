"""The libnetwork remote driver: Docker's life of an endpoint, translated into `netns.plumbing`.

Source: libnetwork `docs/remote.md`. An endpoint is created (CreateEndpoint), wired when its container starts
(Join), unwired (Leave), forgotten (DeleteEndpoint); the last two may come twice, late, or for things that we
have never heard of, and are then no error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, NetmaskValueError
from typing import Any, Protocol

from netns.driver import messages
from netns.driver.facts import Engine, EngineUnavailable, NetworkFact
from netns.driver.network_request import Surroundings, is_ours, may_name, network_of
from netns.driver.refusal import DriverRefused
from netns.naming import is_mac
from netns.plumbing import Attachment, Endpoints, Network, PlumbingError

Answer = dict[str, Any]


class Switch(Protocol):
    """Whether dockerd asks our admission plugin (`netns.driver.switch`)."""

    async def require_on(self) -> None:
        """Raise `DriverRefused` when it does not."""


class Sandboxes(Protocol):
    """The container's side of a link (`netns.driver.sandboxes`)."""

    async def joined(self, attachment: Attachment, sandbox_key: str, gateway: IPv4Address) -> None:
        """Seal the embedded DNS now or as soon as the sandbox is there. Raises `DriverRefused`."""

    def left(self, endpoint: str) -> None:
        """Nothing more to watch for."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An endpoint between CreateEndpoint and DeleteEndpoint."""

    network: str
    address: IPv4Address
    mac: str


class NetworkDriver:
    """Implements `netns.driver.wire.Driver`. `around` gives the surroundings as they are now.

    CreateNetwork does not tell by which name dockerd has found us, and dockerd lists the network only when it
    has our answer. So the network's first endpoint waits for Docker's word that it is of our very name.
    """

    def __init__(
        self,
        plumbing: Endpoints,
        engine: Engine,
        switch: Switch,
        sandboxes: Sandboxes,
        around: Callable[[], Surroundings],
    ) -> None:
        self._plumbing = plumbing
        self._engine = engine
        self._switch = switch
        self._sandboxes = sandboxes
        self._around = around
        self._expected: dict[str, Expected] = {}
        self._unconfirmed: set[str] = set()  # networks of which Docker has not said so, or has said otherwise

    async def create_network(self, message: messages.CreateNetwork) -> Answer:
        """Accept or refuse a new network."""
        network = network_of(message, self._around())
        await self._switch.require_on()
        self._unconfirmed.add(network.id)
        try:
            await self._plumbing.add_network(network)
        except PlumbingError as error:
            self._unconfirmed.discard(network.id)
            raise DriverRefused(f"egress: {error}") from error
        return {}

    async def delete_network(self, message: messages.DeleteNetwork) -> Answer:
        """Forget a network."""
        try:
            await self._plumbing.remove_network(message.NetworkID)
        except PlumbingError as error:
            raise DriverRefused(f"egress: {error}") from error
        self._unconfirmed.discard(message.NetworkID)
        return {}

    async def create_endpoint(self, message: messages.CreateEndpoint) -> Answer:
        """Accept or refuse an address; the link itself is made by `join`."""
        if message.Options.get(messages.PORT_MAP):
            raise DriverRefused("egress: no port can be published from this network; leave out --publish")
        network = await self._network(message.NetworkID)
        asked = message.Interface or messages.EndpointInterface()
        if asked.AddressIPv6:
            raise DriverRefused("egress: IPv6 addresses are not served; leave out --ip6")
        address = _address(asked.Address, network)
        mac = asked.MacAddress.lower() or derived_mac(address)
        # IEEE 802: no interface can have a group address, nor the one of zeros.
        if not is_mac(mac) or mac == "00:00:00:00:00:00":
            raise DriverRefused(
                f"egress: {asked.MacAddress!r} is no unicast MAC address; leave out --mac-address"
            )
        self._expected[message.EndpointID] = Expected(network.id, address, mac)
        return {} if asked.MacAddress else {"Interface": {"MacAddress": mac}}

    async def delete_endpoint(self, message: messages.EndpointReference) -> Answer:
        """Forget an endpoint, wired or not."""
        self._expected.pop(message.EndpointID, None)
        return await self.leave(message)

    async def operational_info(self, message: messages.EndpointReference) -> Answer:
        """What `docker network inspect` may show: nothing."""
        del message
        return {"Value": {}}

    async def join(self, message: messages.Join) -> Answer:
        """Wire a container that starts."""
        await self._switch.require_on()
        network = await self._network(message.NetworkID)
        expected = self._expected.get(message.EndpointID)
        if expected is None or expected.network != network.id:
            raise DriverRefused(
                f"egress: endpoint {message.EndpointID[:12]} is unknown, as after a restart of egress-netd; "
                f"start the container again"
            )
        attachment = Attachment(
            message.EndpointID, network.id, network.tenant, expected.address, expected.mac
        )
        await self._give_up_address(attachment)
        try:
            attached = await self._plumbing.attach(attachment)
        except PlumbingError as error:
            raise DriverRefused(f"egress: {error}") from error
        try:
            await self._sandboxes.joined(attachment, message.SandboxKey, attached.gateway)
        except BaseException:
            await self._plumbing.detach(message.EndpointID)
            raise
        return {
            "InterfaceName": {"SrcName": attached.interface, "DstPrefix": attached.prefix},
            "Gateway": str(attached.gateway),
            "DisableGatewayService": False,
        }

    async def leave(self, message: messages.EndpointReference) -> Answer:
        """Unwire a container."""
        self._sandboxes.left(message.EndpointID)
        try:
            await self._plumbing.depart(message.EndpointID)
        except PlumbingError as error:
            raise DriverRefused(f"egress: {error}") from error
        return {}

    async def restore(self) -> None:
        """Accept again the networks that Docker has of ours. Raises `DriverRefused` when dockerd is silent.

        Docker does not announce a network twice, so after our own restart we have to ask. One whose driver
        has another name than ours is accepted for the links that it may have, and gets no new ones.
        """
        around = self._around()
        # Before Docker is asked: a network that is made meanwhile is not in its answer, and not stale.
        asked_about = {network.id for network in self._plumbing.networks()}
        facts = await self._listed()
        for stale in asked_about - {fact.id for fact in facts}:
            await self._plumbing.remove_network(stale)
        known = {network.id for network in self._plumbing.networks()}
        for fact in facts:
            if not may_name(fact.driver, around.driver) or fact.id in known:
                continue
            if fact.pool is None or fact.gateway is None:
                continue
            try:
                await self._plumbing.add_network(Network(fact.id, fact.tenant, fact.pool, fact.gateway))
            except PlumbingError as error:
                raise DriverRefused(f"egress: network {fact.name}: {error}") from error

    async def _listed(self) -> tuple[NetworkFact, ...]:
        """Docker's networks, by which ours are confirmed or not. Raises `DriverRefused`."""
        try:
            facts = await self._engine.networks()
        except EngineUnavailable as error:
            raise DriverRefused(f"egress: {error}; is dockerd running?") from error
        driver, accepted = self._around().driver, {network.id for network in self._plumbing.networks()}
        ours = [fact for fact in facts if is_ours(fact, driver, accepted)]
        self._unconfirmed |= {fact.id for fact in ours if fact.driver != driver}
        self._unconfirmed -= {fact.id for fact in ours if fact.driver == driver}
        return facts

    async def _give_up_address(self, attachment: Attachment) -> None:
        """Remove the link of an endpoint that a dockerd which was killed has never told us to leave.

        Docker's IPAM gives an address of a network to one endpoint only: whoever had it before has gone.
        """
        for old in self._plumbing.attachments():
            same = (old.network, old.address) == (attachment.network, attachment.address)
            if same and old.endpoint != attachment.endpoint:
                self._expected.pop(old.endpoint, None)
                await self.leave(messages.EndpointReference(NetworkID=old.network, EndpointID=old.endpoint))

    async def _network(self, wanted: str) -> Network:
        if self._known(wanted) is None:
            await self.restore()
        elif wanted in self._unconfirmed:
            await self._listed()
        network = self._known(wanted)
        if network is not None and wanted not in self._unconfirmed:
            return network
        driver = self._around().driver
        raise DriverRefused(
            f"egress: Docker has no network {wanted[:12]} of driver {driver}; remove it and create it again: "
            f"docker network create -d {driver} --opt tenant=NAME …"
        )

    def _known(self, wanted: str) -> Network | None:
        return next((network for network in self._plumbing.networks() if network.id == wanted), None)


def derived_mac(address: IPv4Address) -> str:
    """A locally administered unicast address, unique where the IPv4 address is, as Docker's bridge has it."""
    return ":".join(f"{octet:02x}" for octet in b"\x02\x42" + address.packed)


def _address(text: str, network: Network) -> IPv4Address:
    try:
        address = IPv4Interface(text).ip
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise DriverRefused(f"egress: {text!r} is no IPv4 address of {network.pool}") from error
    if (
        address not in network.pool
        or address == network.gateway
        or address in (network.pool.network_address, network.pool.broadcast_address)
    ):
        raise DriverRefused(f"egress: {address} cannot be a container's address in {network.pool}")
    return address
