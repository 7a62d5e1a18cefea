"""Connections to providers, made by gateway workers for the broker, which has no network of its own.

A worker connects to the broker's socket for this and says its number. The broker asks it for the judged
addresses of a host, and then for a connection to one of these; the worker sends the connected socket itself
(SCM_RIGHTS, unix(7)). What the broker gets it believes no further than the kernel says: the peer has to be
an address that it was told before and has judged itself. TLS is the broker's own: a worker sees no secret.

One JSON object a line (`appliance.ipc`). Broker: `{"id", "op": "find" | "dial", "tenant", "account"?, "host",
"port", "addresses"}` and `{"op": "taken", "id"}` when it holds the socket; worker: `{"worker": number}`
first, then `{"id", "ok": true, "addresses", "holds" | "address"}` or `{"id", "ok": false, "refusal": {...}}`;
`holds` are the seconds for which it would say the same (`found`). With an account the broker itself asks, to
exchange that account's secret: the host is to be one of its token hosts.
"""

from __future__ import annotations

import os
import re
import socket
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, TimeoutError  # noqa: A004 - what addTimeout raises
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IFileDescriptorReceiver, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from appliance.audit.record import Outcome
from appliance.broker.calls import refusals
from appliance.broker.calls.found import Found
from appliance.broker.calls.peers import PeerLimits, Peers
from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.peer import peer_credentials
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

    from appliance.names import HostName
    from appliance.policy.tenant import TenantPolicy

SECONDS = 30.0
"""For one answer of a worker, whose own bounds for resolving and connecting are shorter."""

MAX_SOCKETS = 64
"""Sockets of a worker that wait for the line that speaks of them."""

MAX_ADDRESSES = 64
"""Of one host, as the resolver gives them: each is judged for each call, and kept for a while."""

MAX_TEXT = 2048
"""Characters of a sentence in a worker's refusal."""

CHANNELS = PeerLimits(of_process=4, in_all=64)
"""A worker needs one; while it connects anew the one before may still be there."""


_log = Logger()


class CallRefused(Exception):
    """A call ends with this refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Dials(ServerFactory["_Channel"]):
    """All workers that dial for us, one process of each number. `uid` is the gateway's."""

    noisy = False

    def __init__(self, clock: IReactorTime, uid: int) -> None:
        self._clock = clock
        self._uid = uid
        self._workers: dict[int, _Channel] = {}
        self._turn = 0
        self._peers: Peers[_Channel] = Peers(CHANNELS)

    def buildProtocol(self, addr: IAddress | None) -> _Channel:
        """A worker connects."""
        del addr
        return _Channel(self, self._uid, self._peers)

    def arrived(self, worker: int, channel: _Channel) -> None:
        """A worker has said its number. While another process has that, nobody takes it away."""
        known = self._workers.get(worker)
        if known is not None and known.process != channel.process:
            _log.error("worker {worker} is another process: its connection is closed", worker=worker)
            channel.close()
            return
        self._workers[worker] = channel

    def gone(self, channel: _Channel) -> None:
        """A worker hung up."""
        for worker, known in list(self._workers.items()):
            if known is channel:
                del self._workers[worker]

    def any_worker(self) -> int:
        """One that is connected, each in its turn, for a call that came by none; -1 where there is none."""
        known = sorted(self._workers)
        self._turn += 1
        return known[self._turn % len(known)] if known else -1

    async def find(
        self, worker: int, tenant: str, host: HostName, port: int,
        *, account: str | None = None, policy: TenantPolicy | None = None,
    ) -> tuple[IPv4Address, ...]:  # fmt: skip
        """Addresses of `host` that the worker judged for `tenant`, never empty. Raises `CallRefused`.

        With an `account`, as one of its token hosts. With the tenant's `policy` in force, and no account, the
        worker is asked again only when its last word under this policy has ended.
        """
        channel, asked = self._workers.get(worker), self._clock.seconds()
        if account is not None:
            policy = None
        if policy is not None and channel is not None:
            kept = channel.found.kept(policy, host, port, asked)
            if kept:
                return kept
        answer = await self._ask(worker, _wish("find", tenant, host, port, account))
        _discard(answer)
        try:
            addresses = tuple(IPv4Address(text) for text in answer["addresses"])
        except (KeyError, TypeError, ValueError) as error:
            raise CallRefused(refusals.DIALLER_UNAVAILABLE) from error
        if not 0 < len(addresses) <= MAX_ADDRESSES:
            raise CallRefused(refusals.DIALLER_UNAVAILABLE)
        if policy is not None and channel is not None:
            channel.found.keep(policy, host, port, addresses, asked=asked, holds=answer.get("holds"))
        return addresses

    async def dial(
        self, worker: int, tenant: str, host: HostName, port: int, addresses: Sequence[IPv4Address],
        *, account: str | None = None,
    ) -> tuple[socket.socket, IPv4Address]:  # fmt: skip
        """A socket that is connected to one of `addresses`, as the kernel says. Raises `CallRefused`."""
        wish = _wish("dial", tenant, host, port, account)
        channel = self._workers.get(worker)
        try:
            answer = await self._ask(worker, {**wish, "addresses": [str(address) for address in addresses]})
        except CallRefused:
            if channel is not None:
                channel.found.forget(tenant, host, port)
            raise
        connected = answer.get("socket")
        if not isinstance(connected, socket.socket):
            raise CallRefused(refusals.DIALLER_UNAVAILABLE)
        address = _peer(connected, port)
        if address is None or address not in addresses:
            connected.close()
            raise CallRefused(refusals.PEER_NOT_JUDGED)
        return connected, address

    async def _ask(self, worker: int, message: Message) -> Message:
        channel = self._workers.get(worker)
        if channel is None:
            raise CallRefused(refusals.DIALLER_UNAVAILABLE)
        asked = channel.ask(message)
        try:
            answer: Message = await asked.addTimeout(SECONDS, self._clock)
        except (TimeoutError, ConnectionDone):
            raise CallRefused(refusals.DIALLER_UNAVAILABLE) from None
        if answer.get("ok") is not True:
            _discard(answer)
            raise CallRefused(read_refusal(answer.get("refusal")))
        return answer


@implementer(IFileDescriptorReceiver)
class _Channel(JsonLines):
    """One worker."""

    MAX_LENGTH = 64 * 1024

    def __init__(self, dials: Dials, uid: int, peers: Peers[_Channel]) -> None:
        self._dials = dials
        self._uid = uid
        self._peers = peers
        self._next = 0
        self._asked: dict[int, Deferred[Message]] = {}
        self._sockets: deque[socket.socket] = deque()
        self._introduced = False
        self.found = Found()
        self.process = 0
        """The worker's, as the kernel says."""

    def connectionMade(self) -> None:
        """Only the gateway's uid and root may dial for us."""
        transport: Any = self.transport
        peer = peer_credentials(transport.getHandle())
        self.process = peer.pid
        if peer.uid not in (0, self._uid) or not self._peers.enter(self, peer.pid):
            transport.abortConnection()

    def ask(self, message: Message) -> Deferred[Message]:
        """The answer. When nobody waits for it any more, what comes with it is closed."""
        self._next += 1
        number = self._next
        waiting: Deferred[Message] = Deferred()
        self._asked[number] = waiting
        waiting.addBoth(self._settled, number)
        self.send({**message, "id": number})
        return waiting

    def _settled(self, result: Any, number: int) -> Any:
        self._asked.pop(number, None)
        return result

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """A socket arrives before the line that speaks of it. Anything else is closed, and so are we."""
        os.set_inheritable(descriptor, False)
        try:
            if not self._introduced or len(self._sockets) >= MAX_SOCKETS:
                raise OSError  # noqa: TRY301 - all that is not taken ends alike
            self._sockets.append(socket.socket(fileno=descriptor))
        except OSError:
            os.close(descriptor)
            self.close()

    def message_received(self, message: Message) -> None:
        """A number at first, then answers."""
        if not self._introduced:
            worker = message.get("worker")
            if type(worker) is not int:
                self.close()
                return
            self._introduced = True
            self._dials.arrived(worker, self)
            return
        number = message.get("id")
        message.pop("socket", None)
        if "address" in message and self._sockets:
            message["socket"] = self._sockets.popleft()
            self.send({"op": "taken", "id": number})
        asked = self._asked.pop(number, None) if isinstance(number, int) else None
        if asked is None or asked.called:
            _discard(message)
        else:
            asked.callback(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """What was asked stays unanswered; sockets that nobody has taken are closed."""
        del reason
        self._peers.leave(self)
        self._dials.gone(self)
        asked, self._asked = self._asked, {}
        while self._sockets:
            self._sockets.popleft().close()
        for waiting in asked.values():
            if not waiting.called:
                waiting.errback(ConnectionDone())


def _wish(op: str, tenant: str, host: HostName, port: int, account: str | None) -> Message:
    wish = {"op": op, "tenant": tenant, "host": host.text, "port": port}
    return wish if account is None else {**wish, "account": account}


def _discard(message: Message) -> None:
    """An answer that nobody waits for any more."""
    connected = message.get("socket")
    if isinstance(connected, socket.socket):
        connected.close()


def read_refusal(members: object) -> Refusal:
    """A worker's refusal, of which only the agreed members count. One of another shape is our own."""
    if not isinstance(members, dict):
        return refusals.DIALLER_UNAVAILABLE
    known = {name: members[name] for name in _AGREED if name in members}
    if not all(_AGREED[name](value) for name, value in known.items()):
        return refusals.DIALLER_UNAVAILABLE
    try:
        known["outcome"] = Outcome(known.get("outcome", Outcome.FAILED))
        return Refusal(**known)
    except (TypeError, ValueError):
        return refusals.DIALLER_UNAVAILABLE


def _peer(connected: socket.socket, port: int) -> IPv4Address | None:
    try:
        if connected.family != socket.AF_INET or connected.type != socket.SOCK_STREAM:
            return None
        host, found = connected.getpeername()
    except OSError:
        return None
    return IPv4Address(host) if found == port else None


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _whole(least: int, most: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and least <= value <= most


_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_AGREED: dict[str, Callable[[object], bool]] = {
    "status": _whole(400, 599),
    "reason": lambda value: isinstance(value, str) and _CODE.fullmatch(value) is not None,
    "detail": _text,
    "mend": _text,
    "rule": _text,
    "outcome": lambda value: isinstance(value, str),
    "retry_after": lambda value: value is None or _whole(0, 10**6)(value),
    "closes": lambda value: isinstance(value, bool),
    "alert": _whole(0, 255),
    "proxy_error": lambda value: value is None or (_text(value) and _CODE.fullmatch(str(value)) is not None),
}
"""What each member of a refusal may be: it goes into a record and a page."""
