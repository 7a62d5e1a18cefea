"""`netns.plumbing.Endpoints` on the real kernel: the blocking work in a thread, the announcement here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from appliance.endpoints import MAX_FIELD
from netns.feed import Feed, FeedSilent
from netns.kept_networks import NetworksFile, NetworksUnreadable
from netns.kernel import Converged, Kernel, Live
from netns.naming import container_interface
from netns.notices import Notice
from netns.plumbing import Attached, Attachment, Network, PlumbingError

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from appliance.ipc import Message
    from netns.shares import Steering

Run = Callable[..., "Deferred[Any]"]
"""Runs a blocking callable elsewhere, one at a time and in order."""

_log = Logger()


def in_pool(reactor: Any, pool: Any) -> Run:
    """`Run` on a thread pool, which must have exactly one thread."""

    def run(call: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, pool, call, *arguments)

    return run


class KernelPlumbing:
    """Makes links and tells the feed. Containers attached at the same time wait for the kernel in turn."""

    def __init__(
        self,
        kernel: Kernel,
        feed: Feed,
        run: Run,
        doubt: Callable[[Notice], None],
        kept: NetworksFile | None = None,
    ) -> None:
        """`doubt` hears what only a comparison can mend; `kept` has the networks over the kernel's end."""
        self._kernel = kernel
        self._feed = feed
        self._run = run
        self._doubt = doubt
        self._kept = kept

    async def start(self) -> Converged:
        """Take over what is in the kernel and mend it. Raises `PlumbingError`."""
        done: Converged = await self._run(self._kernel.start)
        await self._run(self._take_kept)
        self._tell_networks()
        self._feed.publish(added=[entry(live) for live in self._kernel.links])
        return done

    async def reconcile(self) -> Converged:
        """Mend what drifted; containers that are gone are announced as such. Raises `PlumbingError`."""
        return self._announced(await self._run(self._kernel.converge))

    async def drift(self) -> tuple[str, ...]:
        """What `reconcile` would do now, in words; nothing is changed. Raises `PlumbingError`."""
        return tuple(str(step) for step in await self._run(self._kernel.drift))

    async def set_exceptions(self, exceptions: tuple[tuple[IPv4Network, int], ...]) -> Converged:
        """Let the gateway reach the operator's exceptions, and no others. Raises `PlumbingError`."""
        return self._announced(await self._run(self._kernel.set_exceptions, exceptions))

    async def steer(self, steering: Steering) -> None:
        """Let Squid serve some workers' shares. Raises `PlumbingError`."""
        await self._run(self._kernel.steer, steering)

    async def remove_stale(self, candidates: frozenset[str], known: frozenset[str]) -> tuple[str, ...]:
        """Remove those of `candidates` that Docker does not know; the ids removed. Raises `PlumbingError`."""
        live = {x.attachment.endpoint for x in self._kernel.links}
        stale = tuple(sorted((candidates & live) - known))
        for endpoint in stale:
            await self.detach(endpoint)
        return stale

    async def add_network(self, network: Network) -> None:
        """See `Endpoints`."""
        await self._run(self._kernel.add_network, network)
        await self._run(self._keep)
        self._tell_networks()

    async def remove_network(self, network: str) -> None:
        """See `Endpoints`."""
        await self._run(self._kernel.remove_network, network)
        await self._run(self._keep)
        self._tell_networks()

    async def attach(self, attachment: Attachment) -> Attached:
        """See `Endpoints`. A link of which not everybody heard in time is removed again."""
        live: Live = await self._run(self._kernel.attach, attachment)
        try:
            await self._feed.settled(self._feed.publish(added=[entry(live)]))
        except FeedSilent as error:
            await self._roll_back(attachment.endpoint)
            raise PlumbingError(f"endpoint {attachment.endpoint[:12]}: {error}") from error
        except CancelledError:
            ensureDeferred(self._roll_back(attachment.endpoint)).addErrback(self._complain)
            raise
        gateway = next(n.gateway for n in self._kernel.networks if n.id == attachment.network)
        return Attached(container_interface(live.interface), gateway)

    async def detach(self, endpoint: str) -> None:
        """See `Endpoints`. Waits until its flows are closed, so that its address can be given again."""
        await self._run(self._kernel.detach, endpoint)
        await self._forgotten(endpoint)

    async def depart(self, endpoint: str) -> None:
        """See `Endpoints`.

        The kernel takes 20 ms to let a link go, and `docker run` waited. Who gets the address next waits
        in the kernel's thread, which does one thing after another.
        """

        def still_there(failure: Any) -> None:
            self._complain(failure)
            self._doubt(Notice(f"the link of endpoint {endpoint[:12]} could not be taken away"))

        def once_more(_gone: Any) -> None:  # it was described meanwhile
            self._feed.publish(removed=[endpoint])

        self._run(self._kernel.detach, endpoint).addErrback(still_there).addCallback(once_more)
        await self._forgotten(endpoint)

    async def _forgotten(self, endpoint: str) -> None:
        generation = self._feed.publish(removed=[endpoint])
        try:
            # Who is absent begins with a snapshot, and nobody gets the address before all are there.
            await self._feed.settled(generation, attendance=False)
        except FeedSilent as error:
            _log.warn("endpoint {endpoint} is gone, but: {error}", endpoint=endpoint, error=str(error))

    async def describe(self, endpoint: str, *, container: str, name: str, run: str) -> None:
        """See `Endpoints`."""
        told: Live | None = await self._run(self._kernel.describe, endpoint, container, name, run)
        if told is not None:
            self._feed.publish(added=[entry(told)])

    def networks(self) -> tuple[Network, ...]:
        """See `Endpoints`."""
        return self._kernel.networks

    def attachments(self) -> tuple[Attachment, ...]:
        """See `Endpoints`."""
        return tuple(live.attachment for live in self._kernel.links)

    def _take_kept(self) -> None:
        """Accept what an earlier netd had accepted; what does not fit any more waits for Docker's word."""
        try:
            kept = () if self._kept is None else self._kept.read()
        except NetworksUnreadable as error:
            _log.warn("{error}", error=str(error))
            return
        known = {network.id for network in self._kernel.networks}
        for network in kept:
            if network.id in known:
                continue
            try:
                self._kernel.add_network(network)
            except PlumbingError as error:
                _log.warn("not taken over: {error}", error=str(error))
        self._keep()

    def _keep(self) -> None:
        """Without it their containers are refused after a restart of the host until Docker answers."""
        try:
            if self._kept is not None:
                self._kept.keep(self._kernel.networks)
        except OSError as error:
            _log.warn("networks are not kept over a restart of the host: {error}", error=str(error))

    def _tell_networks(self) -> None:
        self._feed.tell_networks(
            [
                {"tenant": n.tenant, "pool": str(n.pool)}
                for n in sorted(self._kernel.networks, key=lambda n: n.pool)
            ]
        )

    def _announced(self, done: Converged) -> Converged:
        self._feed.publish(removed=done.vanished)
        return done

    async def _roll_back(self, endpoint: str) -> None:
        await self._run(self._kernel.detach, endpoint)
        self._feed.publish(removed=[endpoint])

    def _complain(self, failure: Any) -> None:
        _log.failure("a link could not be taken away", failure=failure)


def entry(live: Live) -> Message:
    """A link as the feed tells it (see `appliance.endpoints.Endpoint`).

    Labels and names are whatever an image or a caller wrote: cut, or one of them would end everybody's feed.
    """
    attachment = live.attachment
    return {
        "id": attachment.endpoint,
        "network": attachment.network,
        "tenant": attachment.tenant,
        "address": str(attachment.address),
        "interface": live.interface,
        "ifindex": live.index,
        "container": attachment.container[:MAX_FIELD],
        "name": attachment.name[:MAX_FIELD],
        "run": attachment.run[:MAX_FIELD],
    }
