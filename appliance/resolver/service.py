"""The resolver put together: listeners, lookup, feed and control socket on one reactor."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint

from appliance.acceptor import Acceptor
from appliance.audit.log import AuditLog
from appliance.control import ControlFactory, Operation
from appliance.endpoints import Endpoint, EndpointFeed
from appliance.limits.window import SECOND
from appliance.outgoing.deadlines import Deadlines
from appliance.resolver.answering import Answering
from appliance.resolver.lookup import Lookup
from appliance.resolver.operations import Operations
from appliance.resolver.tcp import TcpQuestionsFactory
from appliance.resolver.udp import UdpQuestions
from appliance.resolver.upstream import UpstreamClient
from appliance.telling import Telling

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

    from appliance.ipc import Message
    from appliance.policy.set import PolicySet
    from appliance.settings import NameServer, Settings

LISTENERS = ("dns-udp", "dns-tcp", "control")


class Resolver:
    """One resolver process. `start` takes over the inherited sockets; `stop` gives everything back."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        servers: tuple[NameServer, ...],
        policies: Callable[[], PolicySet],
        audit: AuditLog,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._audit = audit
        self._policies = policies
        uplink = settings.uplink
        self._upstream = UpstreamClient(reactor, servers)
        self._lookup = Lookup(
            policies,
            self._upstream,
            reactor,
            min_ttl=settings.resolver.min_ttl,
            max_ttl=settings.resolver.max_ttl,
            own=frozenset({uplink.address.ip, uplink.peer}),
        )
        netd: Any = UNIXClientEndpoint(reactor, str(settings.control_socket("netd")))  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._feed = EndpointFeed(netd, reactor)
        self._feed.on_removed(self._forget)
        self._feed.on_stray(lambda: reactor.stop())  # noqa: PLW0108 - a test's clock cannot stop
        self._deadlines = Deadlines(reactor)
        self._telling = Telling(
            audit,
            self._deadlines,
            lambda: int(reactor.seconds() * SECOND),
            attached=lambda identity: self._feed.table.get(identity) is not None,
        )
        self._answering = Answering(
            self._lookup,
            policies,
            audit,
            reactor,
            per_second=settings.resolver.queries_per_second,
            telling=self._telling,
        )
        self._tcp = TcpQuestionsFactory(self._feed.table, self._answering, reactor)
        self._udp: UdpQuestions | None = None
        self._control: Acceptor | None = None
        self._port: IListeningPort | None = None

    def start(self, sockets: dict[str, socket.socket], more: Mapping[str, Operation] | None = None) -> None:
        """Listen on `dns-udp`, `dns-tcp` and `control`, and subscribe to netd's feed.

        `more` are operations of the control socket beside our own.
        """
        operations = Operations(
            self._lookup,
            self._audit,
            self._reactor,
            self.status,
            telling=self._telling,
            endpoints=self._feed.table,
            admit=self._answering.admit,
        )
        control = ControlFactory({**operations.table(self._settings.uids.gateway), **(more or {})})
        self._control = Acceptor(self._reactor, sockets["control"], control)
        with sockets["dns-tcp"] as listening:  # the reactor duplicates the descriptor
            listening.setblocking(False)
            self._port = self._reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, self._tcp)
        self._udp = UdpQuestions(sockets["dns-udp"], self._feed.table, self._answering)
        self._udp.start(self._reactor)
        self._deadlines.start()
        self._feed.start()

    async def stop(self) -> None:
        """Close the listeners and the feed, and write what waits for its record."""
        if self._control is not None and self._udp is not None and self._port is not None:
            self._control.close()
            self._udp.stop()
            await maybeDeferred(self._port.stopListening)
        await self._feed.stop()
        self._deadlines.stop()
        self._telling.close()

    @property
    def ready(self) -> bool:
        """Whether questions are answered now."""
        return self._feed.ready and self._audit.ready and self._udp is not None

    def status(self) -> Message:
        """Whether questions are answered, and counters since the start."""
        return {
            "ready": self.ready,
            "feed": self._feed.connected,
            "generation": self._feed.generation,
            "policy": self._policies().generation,
            "audit": self._audit.ready,
            "endpoints": len(self._feed.table),
            "cached": len(self._lookup.cache),
            "pinned": len(self._lookup.pins),
            "asking": self._answering.rate.used(self._reactor.seconds()),
            "upstream_queries": self._upstream.queries,
            "upstream_foreign": self._upstream.foreign,
            **{name: self._answering.counts[name] for name in sorted(self._answering.counts)},
        }

    def _forget(self, endpoint: Endpoint) -> None:
        self._tcp.drop_endpoint(endpoint)
        self._answering.rate.forget(endpoint.id)
        self._telling.forget(endpoint.id)
