"""Tells workers and the resolver which containers there are, and waits until they know.

On the control socket: `{"op":"subscribe"}` is answered with a snapshot, each change follows as an update, and
the subscriber says `{"type":"ack","generation":n}` when it acts on it. See `appliance.endpoints` for the
other end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from appliance.audit.record import LifecycleRecord
from appliance.control import ControlError, ControlFactory, Operation, Peer
from appliance.ipc import Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IAddress

    from appliance.peer import Credentials

WITHIN = 2.0
"""Seconds in which every subscriber has to say that it knows a change."""

RETURN_WITHIN = 8.0
"""Seconds in which a process that is being started anew has to be back, for a container that waits for it."""

_log = Logger()


class FeedSilent(Exception):
    """Not everybody who must know a change said so in time; `str()` says who and what to look at."""


@dataclass(frozen=True, slots=True)
class Role:
    """Who has to know every container: `count` processes of a uid; with 0 it may, and nobody waits."""

    uid: int
    count: int = 1


@dataclass(eq=False, slots=True)
class _Waiting:
    generation: int
    attendance: bool
    done: Deferred[None]
    timeout: IDelayedCall | None = None


@dataclass(frozen=True, slots=True)
class Attendance:
    """A process of ours subscribed or ended its connection: its role, pid, and whether it is there."""

    role: str
    pid: int
    present: bool

    def record(self) -> LifecycleRecord:
        """For the audit log: a process that dies is on record before its successor is."""
        event = "process-joined" if self.present else "process-left"
        return LifecycleRecord(event=event, subject=self.role, detail=f"pid {self.pid}")


class Feed:
    """The containers as subscribers see them; `required` names the processes that every container needs.

    A process subscribes once, and only one that `known` says is ours: a pid and its uid. `namespace` gives
    the inode number of the gateway namespace, told in every snapshot; `attended` hears who comes and goes.
    """

    def __init__(
        self,
        clock: IReactorTime,
        required: Mapping[str, Role],
        within: float = WITHIN,
        *,
        known: Callable[[int, int], bool] = lambda _pid, _uid: True,
        namespace: Callable[[], int | None] = lambda: None,
        attended: Callable[[Attendance], None] = lambda _attendance: None,
    ) -> None:
        self._clock = clock
        self._known = known
        self._namespace = namespace
        self._attended = attended
        self._required = dict(required)
        self._within = within
        self._endpoints: dict[str, Message] = {}
        self._networks: list[Message] = []
        self._acknowledged: dict[Peer, int] = {}
        self._waiting: list[_Waiting] = []
        self.generation = 1

    def subscribe(self, _message: Message, peer: Peer) -> None:
        """Answer of the operation `subscribe`: the snapshot, and from now on every change.

        Raises `ControlError` for a process that is none of those we know.
        """
        pid, uid = peer.credentials.pid, peer.credentials.uid
        if not self._known(pid, uid):
            raise ControlError("not-permitted", f"process {pid} listens on no control socket of uid {uid}")
        if peer not in self._acknowledged:
            for earlier in [p for p in self._acknowledged if p.credentials.pid == pid]:
                self._drop(earlier)
            peer.on_close(lambda: self._gone(peer))
            self._tell(peer, present=True)
        self._acknowledged[peer] = 0
        endpoints = list(self._endpoints.values())
        namespace = self._namespace()
        where = {} if namespace is None else {"namespace": namespace}
        peer.send(
            {
                "type": "snapshot",
                "generation": self.generation,
                "endpoints": endpoints,
                "networks": self._networks,
                **where,
            }
        )

    def acknowledged(self, peer: Peer, generation: Any) -> None:
        """Take note that a subscriber acts on a generation."""
        if peer in self._acknowledged and type(generation) is int and generation <= self.generation:
            self._acknowledged[peer] = max(self._acknowledged[peer], generation)
            self._settle()

    def publish(self, added: Iterable[Message] = (), removed: Iterable[str] = ()) -> int:
        """Tell a change; the generation to wait for. Nothing is sent when nothing changed."""
        new = [e for e in added if self._endpoints.get(e["id"]) != e]
        gone = [identity for identity in removed if self._endpoints.pop(identity, None) is not None]
        if not new and not gone:
            return self.generation
        self._endpoints.update({e["id"]: e for e in new})
        self.generation += 1
        for peer in tuple(self._acknowledged):
            peer.send({"type": "update", "generation": self.generation, "added": new, "removed": gone})
        return self.generation

    def tell_networks(self, networks: list[Message]) -> None:
        """Tell which networks there are, all of them; nobody waits for that to be known."""
        if networks == self._networks:
            return
        self._networks = networks
        self.generation += 1
        for peer in tuple(self._acknowledged):
            peer.send(
                {
                    "type": "update",
                    "generation": self.generation,
                    "added": [],
                    "removed": [],
                    "networks": networks,
                }
            )

    async def settled(self, generation: int, *, attendance: bool = True) -> None:
        """Wait until every subscriber knows `generation`, and with `attendance` all required processes do.

        Raises `FeedSilent` after the time allowed; a subscriber that did not answer is disconnected, and
        begins anew with a snapshot. One that is absent has more time, for it may be starting.
        """
        waiting = _Waiting(generation, attendance, Deferred(self._forget))
        if self._knows(waiting):
            return
        self._waiting.append(waiting)
        waiting.timeout = self._clock.callLater(self._within, self._expired, waiting)
        try:
            await waiting.done
        finally:
            if waiting.timeout.active():
                waiting.timeout.cancel()
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def subscribers(self) -> dict[str, int]:
        """How many of each required role listen now."""
        uids = [peer.credentials.uid for peer in self._acknowledged]
        return {name: uids.count(role.uid) for name, role in self._required.items()}

    def _knows(self, waiting: _Waiting) -> bool:
        return not self._silent(waiting.generation) and not (waiting.attendance and self._absent())

    def _silent(self, generation: int) -> list[Peer]:
        optional = {role.uid for role in self._required.values() if not role.count}
        return [
            peer
            for peer, known in self._acknowledged.items()
            if known < generation and peer.credentials.uid not in optional
        ]

    def _absent(self) -> list[str]:
        present = self.subscribers()
        return [
            f"{present[name]} of {role.count} {name}(s)" if role.count > 1 else f"no {name}"
            for name, role in self._required.items()
            if present[name] < role.count
        ]

    def _settle(self) -> None:
        for waiting in [w for w in self._waiting if self._knows(w)]:
            self._waiting.remove(waiting)
            waiting.done.callback(None)

    def _gone(self, peer: Peer) -> None:
        if self._acknowledged.pop(peer, None) is not None:
            self._settle()
            self._tell(peer, present=False)

    def _drop(self, peer: Peer) -> None:
        """End a subscription now: whoever does not answer may not read what we wrote either."""
        self._acknowledged.pop(peer)
        self._tell(peer, present=False)
        peer.abort()

    def _tell(self, peer: Peer, *, present: bool) -> None:
        credentials = peer.credentials
        role = next(
            (r for r, role in self._required.items() if role.uid == credentials.uid), f"uid {credentials.uid}"
        )
        self._attended(Attendance(role, credentials.pid, present))

    def _forget(self, done: Deferred[None]) -> None:
        self._waiting = [waiting for waiting in self._waiting if waiting.done is not done]

    def _expired(self, waiting: _Waiting, *, final: bool = False) -> None:
        absent, silent = self._absent(), self._silent(waiting.generation)
        for peer in silent:
            _log.warn("closing a subscriber that did not answer, uid {uid}", uid=peer.credentials.uid)
            self._drop(peer)
        if absent and not silent and not final:
            waiting.timeout = self._clock.callLater(
                RETURN_WITHIN - self._within, self._expired, waiting, final=True
            )
            return
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        what = f"{' and '.join(absent)} is running" if absent else f"{len(silent)} process(es) do not answer"
        waiting.done.errback(FeedSilent(f"{what}; look at: egress status"))
        self._settle()


class FeedPeer(Peer):
    """A control connection on which acknowledgements may come in beside requests."""

    feed: Feed

    def message_received(self, message: Message) -> None:
        """An acknowledgement goes to the feed, anything else is a request."""
        if message.get("type") == "ack":
            self.feed.acknowledged(self, message.get("generation"))
        else:
            super().message_received(message)


class FeedFactory(ControlFactory):
    """netd's control socket: its operations and `subscribe`, which `uids` may ask for."""

    def __init__(
        self,
        feed: Feed,
        operations: Mapping[str, Operation],
        uids: frozenset[int],
        **identify: Callable[[Any], Credentials],
    ) -> None:
        super().__init__({**operations, "subscribe": Operation(feed.subscribe, uids)}, **identify)
        self._feed = feed

    def buildProtocol(self, addr: IAddress | None) -> FeedPeer:
        """One peer, one protocol."""
        del addr
        peer = FeedPeer(self._operations, self._identify)
        peer.factory = self
        peer.feed = self._feed
        return peer
