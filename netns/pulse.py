"""Whether a process of ours serves: asked of its control socket again and again, on one connection.

A process that is killed ends the connection, which is heard at once; one that is stopped is known by its
state in /proc when it has not answered for a moment; one that hangs otherwise is noticed by its silence.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone

from appliance.ipc import Message
from appliance.json_lines import JsonLines
from appliance.peer import peer_credentials
from netns.shares import Condition

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
    from twisted.python.failure import Failure

EVERY = 0.25
"""Seconds between an answer and the next question."""

SILENCE = 5.0
"""Seconds without an answer after which a process counts as away.

A worker at its limits answers in less. Less than this would take a busy one for one that hangs: reading a
policy of 1,000 rules, which is done anew at each change, keeps a worker from answering for 2 s.
"""

GLANCE = 0.25
"""Seconds between two looks at the state of a process that has not answered."""
STOPPED_LOOKS = 3
"""Looks one after the other that find it stopped (SIGSTOP): no load does that to a process."""

AGAIN = 0.1
"""Seconds until a process with which there is no connection is tried again."""

LONGEST_ANSWER = 64 * 1024


def is_stopped(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether process `pid` was stopped by a signal (proc(5), state `T`)."""
    try:
        _, _, after_name = (proc / str(pid) / "stat").read_bytes().rpartition(b") ")
    except OSError:
        return False
    return after_name[:2] == b"T "


class Pulse:
    """One process, behind `control`; `told` is called whenever `condition` has changed."""

    def __init__(
        self,
        clock: IReactorTime,
        control: IStreamClientEndpoint,
        told: Callable[[], None],
        stopped: Callable[[int], bool] = is_stopped,
    ) -> None:
        self._clock, self._control, self._told, self._is_stopped = clock, control, told, stopped
        self._waited, self._stops = 0.0, 0
        self._due: IDelayedCall | None = None
        self._talk: _Talk | None = None
        self._stopped = True
        self.silent = False
        self.condition = Condition.AWAY

    def start(self) -> None:
        """Begin to ask."""
        self._stopped = False
        self._connect()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped = True
        self._cancel()
        if self._talk is not None:
            self._talk.abort()

    def connected(self, talk: _Talk) -> None:
        """There is somebody: ask."""
        self._talk = talk
        self._ask()

    def answered(self, answer: Message) -> None:
        """It said how it is."""
        self.silent = False
        self._cancel()
        if not self._stopped:
            self._due = self._clock.callLater(EVERY, self._ask)
        self._become(Condition.READY if answer.get("ready") is True else Condition.ALIVE)

    def lost(self) -> None:
        """The connection is gone, and most likely the process."""
        self._talk = None
        self._cancel()
        self._become(Condition.AWAY)
        self._later()

    def _connect(self) -> None:
        Deferred.fromCoroutine(self._try()).addErrback(lambda _: self._later())

    async def _try(self) -> None:
        factory: Factory = Factory.forProtocol(lambda: _Talk(self))
        factory.noisy = False  # a process that is away is tried many times
        await self._control.connect(factory)

    def _later(self) -> None:
        if not self._stopped:
            self._cancel()
            self._due = self._clock.callLater(AGAIN, self._connect)

    def _ask(self) -> None:
        if self._talk is not None:
            self._talk.send({"op": "status"})
            self._waited, self._stops = 0.0, 0
            self._due = self._clock.callLater(GLANCE, self._glance)

    def _glance(self) -> None:
        """It has not answered yet: look how long that is by now, and whether it is let run."""
        self._waited += GLANCE
        pid = None if self._talk is None else self._talk.pid
        self._stops = self._stops + 1 if pid is not None and self._is_stopped(pid) else 0
        if self._waited >= SILENCE or self._stops >= STOPPED_LOOKS:
            self._fell_silent()
        else:
            self._due = self._clock.callLater(GLANCE, self._glance)

    def _fell_silent(self) -> None:
        self.silent = True
        if self._talk is not None:
            self._talk.abort()

    def _cancel(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None

    def _become(self, condition: Condition) -> None:
        changed, self.condition = condition is not self.condition, condition
        if changed and not self._stopped:
            self._told()


def peer_pid(transport: object) -> int | None:
    """Who listens at the other end; None where the transport is no socket's."""
    handle = getattr(transport, "getHandle", None)
    return None if handle is None else peer_credentials(handle()).pid


class _Talk(JsonLines):
    """One connection."""

    MAX_LENGTH = LONGEST_ANSWER

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self.pid: int | None = None

    def connectionMade(self) -> None:
        self.pid = peer_pid(self.transport)
        self._pulse.connected(self)

    def message_received(self, message: Message) -> None:
        self._pulse.answered(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        self._pulse.lost()

    def abort(self) -> None:
        """End it at once: what hangs reads nothing either."""
        self.transport.abortConnection()  # type: ignore[union-attr]  # a stream socket's transport has it
