"""Whether Squid answers: asked on a port of its own, on loopback, for something that it refuses at once.

One that hangs still has its connections accepted, by the kernel, and keeps who was steered to it waiting.
Time is counted in looks of ours, not by the clock, so that a stall of this process is no silence of Squid's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone

if TYPE_CHECKING:
    from twisted.internet.interfaces import IStreamClientEndpoint
    from twisted.python.failure import Failure

ASKED = b"GET http://heartbeat.invalid/ HTTP/1.1\r\nHost: heartbeat.invalid\r\nConnection: close\r\n\r\n"
EVERY = 4
"""Looks from an answer to the next question."""
MISSED = 20
"""Looks without an answer after which Squid counts as hung: it stands still while it reads its rules anew."""


class Heartbeat:
    """Asks at `squid`; `look` is called at an even pace while Squid runs, `missed` once for each silence.

    `silent` from then on until something is answered, by whatever Squid runs then.
    """

    def __init__(self, squid: IStreamClientEndpoint, missed: Callable[[], None]) -> None:
        self._squid, self._missed = squid, missed
        self._connecting: Deferred[Any] | None = None
        self._asking: _Question | None = None
        self._looks = 0
        self._asked = self._told = False
        self.silent = False

    def begin(self) -> None:
        """Another Squid runs: it is asked at the next look."""
        self._give_up()
        self._told, self._looks = False, EVERY

    def look(self) -> None:
        """Ask when it is time, and notice what was not answered."""
        self._looks += 1
        if not self._asked and self._looks >= EVERY:
            self._asked, self._looks = True, 0
            self._ask()
        elif self._asked and self._looks >= MISSED and not self._told:
            self.silent = self._told = True
            self._looks = 0
            self._give_up()
            self._missed()

    def stop(self) -> None:
        """Ask no more."""
        self._give_up()

    def answered(self) -> None:
        """It said something."""
        self._asked = self._told = self.silent = False
        self._looks = 0
        self._asking = None

    def asks(self, question: _Question) -> None:
        """There is a connection."""
        self._asking = question

    def _ask(self) -> None:
        factory: Factory = Factory.forProtocol(lambda: _Question(self))
        factory.noisy = False
        self._connecting = self._squid.connect(factory)
        # What cannot be asked has not answered: `look` counts on.
        self._connecting.addErrback(lambda _: None)

    def _give_up(self) -> None:
        self._asked = False
        connecting, self._connecting = self._connecting, None
        asking, self._asking = self._asking, None
        if connecting is not None:
            connecting.cancel()
        if asking is not None:
            asking.abort()


class _Question(Protocol):
    """One question; the first octets of the answer are enough."""

    transport: Any

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat: Heartbeat | None = heartbeat

    def connectionMade(self) -> None:
        assert self._heartbeat is not None
        self._heartbeat.asks(self)
        self.transport.write(ASKED)

    def dataReceived(self, data: bytes) -> None:
        if self._heartbeat is not None and data:
            heartbeat, self._heartbeat = self._heartbeat, None
            heartbeat.answered()
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Without an answer: `Heartbeat.look` counts on.
        del reason

    def abort(self) -> None:
        self._heartbeat = None
        self.transport.abortConnection()
