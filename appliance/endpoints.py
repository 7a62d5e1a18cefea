"""Who speaks from which address: the table of live container endpoints, and netd's feed that fills it.

`EndpointTable` decides and does no I/O. `EndpointFeed` is a client of netd's control socket that reconnects
for ever: when netd is away the last table stays in force, for the links it describes are still there, and a
link that netd did not announce is in no table and so belongs to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.links import link_mark
from appliance.workload import TENANT_NAME

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress, IStreamClientEndpoint
    from twisted.python.failure import Failure

FIRST_RETRY = 0.05
LAST_RETRY = 1.0
MAX_FIELD = 256
"""Characters of a text of the feed; one that is longer makes the message one that nobody takes."""


class FeedError(ValueError):
    """A message of the feed has not the agreed shape."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One container's end on one appliance network, as netd attached it.

    `ifindex` is the index of `interface` inside the gateway namespace. `container`, `name` and `run` may be
    empty: Docker does not always tell them when it joins an endpoint.
    """

    id: str
    network: str
    tenant: str
    address: IPv4Address
    interface: str
    ifindex: int
    container: str = ""
    name: str = ""
    run: str = ""

    @classmethod
    def parse(cls, data: Any) -> Endpoint:
        """An endpoint from its JSON form. Raises `FeedError`."""
        if not isinstance(data, dict):
            raise FeedError("an endpoint is no object")
        text = {key: _text(data, key, empty=False) for key in ("id", "network", "tenant", "interface")}
        text |= {key: _text(data, key, empty=True) for key in ("container", "name", "run")}
        if not TENANT_NAME.fullmatch(text["tenant"]):
            raise FeedError("an endpoint's tenant is no tenant name")
        ifindex = data.get("ifindex")
        if type(ifindex) is not int or ifindex < 1:
            raise FeedError("an endpoint's ifindex is no positive number")
        try:
            address = IPv4Address(_text(data, "address", empty=False))
        except AddressValueError as error:
            raise FeedError("an endpoint's address is no IPv4 address") from error
        return cls(address=address, ifindex=ifindex, **text)

    def is_same_link(self, other: Endpoint) -> bool:
        """Whether flows of `other` are still this endpoint's: all but the descriptive fields are equal."""
        return (self.id, self.network, self.tenant, self.address, self.ifindex) == (
            other.id,
            other.network,
            other.tenant,
            other.address,
            other.ifindex,
        )


def _text(data: Message, key: str, *, empty: bool) -> str:
    value = data.get(key, "" if empty else None)
    if not isinstance(value, str) or len(value) > MAX_FIELD or (not value and not empty):
        raise FeedError(f"an endpoint's {key} is no text of the right size")
    return value


@dataclass(frozen=True, slots=True)
class Change:
    """What an update did to the table; an endpoint whose link changed is in both."""

    added: tuple[Endpoint, ...]
    removed: tuple[Endpoint, ...]


class EndpointTable:
    """Live endpoints, at most one for an address: a newcomer ends the earlier holder of its address."""

    def __init__(self) -> None:
        self._by_id: dict[str, Endpoint] = {}
        self._by_address: dict[IPv4Address, Endpoint] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(tuple(self._by_id.values()))

    def get(self, identity: str) -> Endpoint | None:
        """The endpoint of that id, while it is attached."""
        return self._by_id.get(identity)

    def on_link(self, address: IPv4Address, mark: int) -> Endpoint | None:
        """The endpoint that holds `address`, if a connection from it with `mark` came in by its own link.

        The kernel checked link × source when the packet came; a connection that waited to be accepted may be
        of an earlier holder of the address.
        """
        endpoint = self._by_address.get(address)
        return endpoint if endpoint is not None and mark == link_mark(endpoint.id) else None

    def on_interface(self, address: IPv4Address, ifindex: int) -> Endpoint | None:
        """The endpoint that holds `address`, if a packet from it came in by that endpoint's interface."""
        endpoint = self._by_address.get(address)
        return endpoint if endpoint is not None and endpoint.ifindex == ifindex else None

    def replace(self, endpoints: Iterable[Endpoint]) -> Change:
        """Become exactly `endpoints` (a snapshot)."""
        wanted = {endpoint.id: endpoint for endpoint in endpoints}
        return self.update(wanted.values(), [identity for identity in self._by_id if identity not in wanted])

    def update(self, added: Iterable[Endpoint], removed: Iterable[str]) -> Change:
        """Forget the ids in `removed`, then take in `added`. Unknown ids are no error: they are gone."""
        gone = [endpoint for endpoint in map(self._discard, removed) if endpoint is not None]
        new: list[Endpoint] = []
        for endpoint in added:
            earlier = self._discard(endpoint.id)
            if earlier is None or not endpoint.is_same_link(earlier):
                gone.extend([] if earlier is None else [earlier])
                new.append(endpoint)
            holder = self._by_address.get(endpoint.address)
            if holder is not None:
                self._discard(holder.id)
                gone.append(holder)
            self._by_id[endpoint.id] = self._by_address[endpoint.address] = endpoint
        return Change(tuple(new), tuple(gone))

    def _discard(self, identity: str) -> Endpoint | None:
        endpoint = self._by_id.pop(identity, None)
        if endpoint is not None and self._by_address.get(endpoint.address) is endpoint:
            del self._by_address[endpoint.address]
        return endpoint


class EndpointFeed:
    """Keeps an `EndpointTable` equal to netd's, and says which endpoints went away.

    `control` is netd's control socket as a client endpoint; `clock` is the reactor. Callbacks given to
    `on_removed` run before the change is acknowledged, so netd knows that flows of a removed endpoint are
    closed before its address can be given to another container.
    """

    log = Logger()

    def __init__(self, control: IStreamClientEndpoint, clock: Any) -> None:
        self.table = EndpointTable()
        self.pools: dict[str, tuple[IPv4Network, ...]] = {}
        """The ranges of each tenant's networks, whether there is a container in them or not."""
        self.generation = 0
        self.connected = False
        self.ready = False
        self._removed: list[Callable[[Endpoint], None]] = []
        self._stray: Callable[[], None] | None = None
        self._service = ClientService(
            control,
            _SubscriberFactory(self),
            # No jitter: we are a handful of processes on one machine.
            retryPolicy=backoffPolicy(initialDelay=FIRST_RETRY, maxDelay=LAST_RETRY, jitter=lambda: 0.0),
            clock=clock,
        )

    def on_removed(self, callback: Callable[[Endpoint], None]) -> None:
        """Call `callback` with each endpoint that ends, after it has left the table."""
        self._removed.append(callback)

    def on_stray(self, callback: Callable[[], None]) -> None:
        """Call `callback` when netd announces a gateway namespace that is not the one this process is in.

        Then nothing that we serve can reach us or leave, and only a process started anew is in the right one.
        """
        self._stray = callback

    def start(self) -> None:
        """Connect, and keep connecting."""
        self._service.startService()

    def stop(self) -> Deferred[None]:
        """Close the connection; fires when it is closed."""
        return self._service.stopService()

    def apply(self, message: Message) -> int:
        """Take in a snapshot or an update; returns its generation. Raises `FeedError` and changes nothing."""
        generation = message.get("generation")
        if type(generation) is not int or generation < 0:
            raise FeedError("a feed message has no generation")
        pools = _pools(message.get("networks"))
        match message.get("type"):
            case "snapshot":
                change = self.table.replace(_endpoints(message.get("endpoints")))
                self.ready = True
                self._compare_namespace(message.get("namespace"))
            case "update":
                if not self.ready or generation <= self.generation:
                    raise FeedError(f"update {generation} does not follow {self.generation}")
                change = self.table.update(_endpoints(message.get("added")), _ids(message.get("removed")))
            case _:
                raise FeedError("a feed message of unknown type")
        self.generation = generation
        self.pools = self.pools if pools is None else pools
        for endpoint in change.removed:
            self._announce(endpoint)
        return generation

    def _compare_namespace(self, announced: Any) -> None:
        # netd that serves no namespace, or an older one, announces none.
        if self._stray is None or type(announced) is not int:
            return
        own = own_namespace()
        if own is not None and own != announced:
            self.log.error("in network namespace {own}, netd keeps {announced}", own=own, announced=announced)
            stray, self._stray = self._stray, None
            stray()

    def _announce(self, endpoint: Endpoint) -> None:
        for callback in self._removed:
            try:
                callback(endpoint)
            except Exception:  # noqa: BLE001 - one listener's bug must not keep flows of the others open
                self.log.failure("closing what belongs to endpoint {id} failed", id=endpoint.id)


def own_namespace() -> int | None:
    """Inode number of the network namespace that this process is in (namespaces(7)), None if untold."""
    try:
        return Path("/proc/self/ns/net").stat().st_ino
    except OSError:
        return None


def _endpoints(data: Any) -> list[Endpoint]:
    if not isinstance(data, list):
        raise FeedError("a feed message has no list of endpoints")
    return [Endpoint.parse(item) for item in data]


def _pools(data: Any) -> dict[str, tuple[IPv4Network, ...]] | None:
    """By tenant; None where nothing is said of networks."""
    if data is None:
        return None
    found: dict[str, tuple[IPv4Network, ...]] = {}
    try:
        for item in data:
            tenant = _text(item, "tenant", empty=False)
            found[tenant] = (*found.get(tenant, ()), IPv4Network(_text(item, "pool", empty=False)))
    except (AttributeError, TypeError, ValueError) as error:
        raise FeedError("a feed message's networks are no list of tenants with pools") from error
    return found


def _ids(data: Any) -> list[str]:
    if not isinstance(data, list) or not all(isinstance(item, str) for item in data):
        raise FeedError("a feed update has no list of removed ids")
    return data


class _Subscriber(JsonLines):
    """One connection to netd. A message that is not understood ends it; the next begins with a snapshot."""

    def __init__(self, feed: EndpointFeed) -> None:
        self._feed = feed

    def connectionMade(self) -> None:
        self._feed.connected = True
        self.send({"op": "subscribe"})

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # Twisted's default argument
        del reason
        self._feed.connected = False

    def message_received(self, message: Message) -> None:
        try:
            generation = self._feed.apply(message)
        except FeedError as error:
            self._feed.log.warn("netd's feed, closed: {error}", error=str(error))  # noqa: G010 - Twisted's name
            self.close()
            return
        self.send({"type": "ack", "generation": generation})


class _SubscriberFactory(Factory):
    noisy = False

    def __init__(self, feed: EndpointFeed) -> None:
        self._feed = feed

    def buildProtocol(self, addr: IAddress | None) -> _Subscriber:
        del addr
        return _Subscriber(self._feed)
