"""The callers' socket: processes of this host that are no containers, in plain HTTP/1.1.

Whoever opens it has proved nothing yet; the kernel tells its uid (SO_PEERCRED, unix(7)). One request at a
time, and one route (`routes.FOR_CALLERS`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory, connectionDone

from appliance.broker.api.routes import FOR_CALLERS, Route, route_of
from appliance.broker.api.server_connection import REQUEST_SECONDS, ServerConnection
from appliance.broker.calls.keeping import Keeping
from appliance.broker.calls.peers import PeerLimits, Peers
from appliance.http1.head import RequestHead
from appliance.outgoing.deadlines import Deadlines
from appliance.peer import peer_credentials
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

CONNECTIONS = PeerLimits(of_process=256, in_all=512)
"""Of one uid, and of all, at the same time; each is a call, or rests between two."""
OF_PEER, OF_ALL = 64 << 20, 128 << 20
"""Octets of the bodies of their requests: they are read before anybody has proved who it is."""


class Answering(Protocol):
    """What is done for a request. It ends by one word to the conversation."""

    def begin(self, head: RequestHead, body: bytes, conversation: CallerConversation) -> Deferred[None]:
        """Cancelled when the caller has gone."""


class CallerConnections(ServerFactory["CallerConnection"]):
    """Accepts whom the file's mode lets in. `new_id` names connections, for request ids."""

    noisy = False

    def __init__(self, answering: Answering, deadlines: Deadlines, new_id: Callable[[], str]) -> None:
        self.answering = answering
        self.deadlines = deadlines
        self.new_id = new_id
        self.peers: Peers[CallerConnection] = Peers(CONNECTIONS)
        self.bodies = Keeping(OF_PEER, OF_ALL)

    def buildProtocol(self, addr: IAddress | None) -> CallerConnection:
        """Somebody connects."""
        del addr
        return CallerConnection(self)

    def close(self) -> None:
        """End all of them."""
        for connection in self.peers.connections():
            connection.deadline_passed()


class CallerConnection(TwistedProtocol):
    """See the module. `transport` is the Unix socket."""

    transport: Any
    conversation: CallerConversation

    def __init__(self, shared: CallerConnections) -> None:
        self._shared = shared
        self.deadline = 0.0

    def connectionMade(self) -> None:
        """Ask the kernel who it is."""
        shared = self._shared
        peer = peer_credentials(self.transport.getHandle())
        self.conversation = CallerConversation(self, shared.new_id(), peer.uid, shared)
        self.conversation.transport = self.transport
        if not shared.peers.enter(self, peer.uid):
            self.transport.abortConnection()
            return
        shared.deadlines.watch(self)
        self.wait(REQUEST_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        """Octets of requests."""
        self.conversation.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The caller is gone."""
        self._shared.peers.leave(self)
        self._shared.deadlines.forget(self)
        self.conversation.connectionLost(reason)

    def wait(self, seconds: float) -> None:
        """See `server_connection.Timing`."""
        self.deadline = self._shared.deadlines.seconds() + seconds

    def deadline_passed(self) -> None:
        """Too slow, idle, or not wanted any more."""
        self.transport.abortConnection()


class CallerConversation(ServerConnection):
    """`uid` is the peer's; who calls, each request proves anew."""

    def __init__(self, connection: CallerConnection, name: str, uid: int, shared: CallerConnections) -> None:
        super().__init__(connection, name, shared.bodies, str(uid), _route)
        self.uid = uid
        self._answering = shared.answering

    def _answer(self, head: RequestHead, body: bytes, route: Route) -> Deferred[None]:
        del route
        return self._answering.begin(head, body, self)


def _route(head: RequestHead) -> Route | Refusal:
    return route_of(head, FOR_CALLERS, "http")
