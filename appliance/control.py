"""The server side of a process's control socket: operations, and who may ask for each.

Wire: one JSON object a line (`appliance.ipc`). A request is `{"op": name, ...}`; the answer is
`{"ok": true, ...}` or `{"ok": false, "error": code, "detail": sentence}`. A request that carries an `"id"`
gets it back in its answer, so that a peer may ask several things at once; without one, answers may be told
apart only by asking one thing at a time.

Root may ask for everything; any other uid only for the operations that list it. A peer whose uid no operation
lists is answered once and closed before a byte of it is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.peer import Credentials, peer_credentials

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

MAX_PENDING = 256
"""Unanswered requests of one peer above which we stop reading from it."""

MAX_REQUEST = 64 * 1024
"""Octets of a request; answers may be longer."""

MAX_PEERS = 256
"""Connections of one uid but root: a process that was taken over may not fill the memory of another."""

_log = Logger()


class ControlError(Exception):
    """An operation refuses: `code` is a stable word for machines, `detail` one sentence for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class _Stream(IConsumer, IPushProducer):
    """A transport that can be paused, and that pauses its producer."""


Answer = Callable[[Message, "Peer"], "Message | Awaitable[Message | None] | None"]
"""What an operation does: answers the fields beside `ok` (or nothing, when it speaks through `Peer.send`)."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One `op`: its answer and the uids (beside root) that may ask for it."""

    answer: Answer
    uids: frozenset[int] = frozenset()


@implementer(IPushProducer)
class Peer(JsonLines):
    """One connected process. Operations may keep it, `send` to it later, and learn of its end."""

    MAX_LENGTH = MAX_REQUEST

    factory: ControlFactory
    credentials: Credentials

    def __init__(self, operations: Mapping[str, Operation], identify: Callable[[Any], Credentials]) -> None:
        self._operations = operations
        self._identify = identify
        self._pending: set[Deferred[None]] = set()
        self._unanswered = 0
        self._unread_by_peer = False
        self._watchers: list[Callable[[], None]] = []

    def connectionMade(self) -> None:
        """Learn the peer's uid from the kernel; close when nothing is open to it."""
        self.credentials = self._identify(self.transport)
        self._stream.registerProducer(self, True)
        if not self.factory.admitted(self):
            self.abort()
            return
        if not any(self._permitted(operation) for operation in self._operations.values()):
            self._refuse(None, ControlError("not-permitted", self._stranger("any operation")))
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Cancel what the peer can no longer hear, then tell the watchers."""
        del reason
        self.connected = 0
        self.factory.gone(self)
        for deferred in tuple(self._pending):
            deferred.cancel()
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher()

    def on_close(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` once when the connection is gone."""
        self._watchers.append(watcher)

    def close(self) -> None:
        """End the connection after what was sent."""
        # A paused producer would keep Twisted from closing when all is written.
        self._stream.unregisterProducer()
        super().close()

    def abort(self) -> None:
        """End the connection at once; what the peer has not read is lost."""
        self._stream.unregisterProducer()
        self.transport.abortConnection()  # type: ignore[union-attr]  # a stream socket's transport has it

    def message_received(self, message: Message) -> None:
        """Start the operation that the message asks for, if the peer may."""
        tag = message.get("id")
        name = message.get("op")
        operation = self._operations.get(name) if isinstance(name, str) else None
        if operation is None:
            known = ", ".join(sorted(self._operations))
            self._refuse(tag, ControlError("unknown-operation", f"the operations are: {known}"))
            return
        if not self._permitted(operation):
            self._refuse(tag, ControlError("not-permitted", self._stranger(str(name))))
            return
        self._unanswered += 1
        self._regulate()
        deferred = Deferred.fromCoroutine(self._run(operation, message, tag))
        if not deferred.called:
            self._pending.add(deferred)
            deferred.addBoth(self._forget, deferred)

    async def _run(self, operation: Operation, message: Message, tag: Any) -> None:
        try:
            outcome = operation.answer(message, self)
            answer = await outcome if isawaitable(outcome) else outcome
        except CancelledError:
            if self.connected:  # not by `connectionLost`: somebody still waits for an answer
                self._refuse(tag, ControlError("cancelled", "the operation was given up"))
        except ControlError as refusal:
            self._refuse(tag, refusal)
        except Exception:  # noqa: BLE001 - our own bug must answer the peer, not end the process
            _log.failure("operation {op} failed", op=message.get("op"))
            self._refuse(tag, ControlError("internal-error", "the operation failed; see this process's log"))
        else:
            if answer is not None:
                self._reply(tag, {"ok": True, **answer})
        finally:
            self._unanswered -= 1
            self._regulate()

    def _forget(self, result: Any, deferred: Deferred[None]) -> None:
        self._pending.discard(deferred)
        del result

    def _permitted(self, operation: Operation) -> bool:
        return self.credentials.uid == 0 or self.credentials.uid in operation.uids

    def _stranger(self, what: str) -> str:
        return f"uid {self.credentials.uid} may not ask for {what}"

    def _refuse(self, tag: Any, refusal: ControlError) -> None:
        self._reply(tag, {"ok": False, "error": refusal.code, "detail": refusal.detail})

    def _reply(self, tag: Any, answer: Message) -> None:
        self.send(answer if tag is None else {**answer, "id": tag})

    # Back-pressure: read only while the peer reads our answers and not too many are outstanding.

    def pauseProducing(self) -> None:
        """Stop reading: the peer does not read what we wrote."""
        self._unread_by_peer = True
        self._regulate()

    def resumeProducing(self) -> None:
        """Read again."""
        self._unread_by_peer = False
        self._regulate()

    def stopProducing(self) -> None:
        """The transport is gone; `connectionLost` does the rest."""

    def _regulate(self) -> None:
        if not self.connected:
            return
        if self._unread_by_peer or self._unanswered > MAX_PENDING:
            self._stream.pauseProducing()
        else:
            self._stream.resumeProducing()

    @property
    def _stream(self) -> _Stream:
        # Twisted types every transport as the bare ITransport; a stream socket's is both of these.
        return cast("_Stream", self.transport)


def _of_transport(transport: Any) -> Credentials:
    return peer_credentials(transport.getHandle())


class ControlFactory(ServerFactory["Peer"]):
    """Makes a `Peer` for each connection. `identify` is replaced only where there is no kernel to ask."""

    noisy = False

    def __init__(
        self,
        operations: Mapping[str, Operation],
        identify: Callable[[Any], Credentials] = _of_transport,
    ) -> None:
        self._operations = dict(operations)
        self._identify = identify
        self._peers: dict[int, set[Peer]] = {}

    def admitted(self, peer: Peer) -> bool:
        """Whether there is room for one more of its uid."""
        peers = self._peers.setdefault(peer.credentials.uid, set())
        if peer.credentials.uid and len(peers) >= MAX_PEERS:
            return False
        peers.add(peer)
        return True

    def gone(self, peer: Peer) -> None:
        """It is."""
        self._peers[peer.credentials.uid].discard(peer)

    def buildProtocol(self, addr: IAddress | None) -> Peer:
        """One peer, one protocol."""
        del addr
        peer = Peer(self._operations, self._identify)
        peer.factory = self
        return peer
