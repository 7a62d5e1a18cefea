"""Twisted's epoll reactor with less between the kernel and a connection, for processes that carry traffic.

What differs, and nothing else does: a connection's bytes are sent when they are written, if none wait before
them (Twisted's wait for the next poll, which costs two epoll_ctl(2) and an event for each answer: 25 of 95 us
of a small request); and an event that only says "readable" is dispatched without a logging context (10 us of
a request's four events).
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import abstract, tcp, unix
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor
from twisted.python import log


class _Prompt:
    """Mixed into a connection: `write` sends what the kernel takes at once, and queues the rest as ever."""

    connected: int
    socket: socket.socket
    dataBuffer: bytes
    SEND_LIMIT: int
    _tempDataBuffer: list[bytes]
    _writeDisconnected: bool
    _aborting: bool
    producer: Any
    streamingProducer: Any

    def write(self, data: bytes) -> None:
        """See `ITransport.write`. The reactor meets an error when it sends what is queued."""
        if not data or not self.connected or self._writeDisconnected or self._aborting:
            return
        # A producer that is asked for each piece hears of room from the queue.
        asked = self.producer is not None and not self.streamingProducer
        if not self.dataBuffer and not self._tempDataBuffer and not asked:
            try:
                sent = self.socket.send(data)
            except OSError:
                sent = 0
            if sent == len(data):
                return
            if sent:
                data = data[sent:]
        abstract.FileDescriptor.write(self, data)  # type: ignore[arg-type]  # mixed into one


class PromptServer(_Prompt, tcp.Server):
    """An accepted connection."""


class PromptClient(_Prompt, tcp.Client):
    """A connection that was opened."""


class _PromptUnix(_Prompt):
    """What is written behind a descriptor is queued, and goes with it (unix(7), SCM_RIGHTS)."""

    _sendmsgQueue: list[int]

    def write(self, data: bytes) -> None:
        """As `_Prompt`'s."""
        if self._sendmsgQueue:
            abstract.FileDescriptor.write(self, data)  # type: ignore[arg-type]  # mixed into one
        else:
            super().write(data)


class PromptUnixServer(_PromptUnix, unix.Server):
    """An accepted connection on a Unix socket."""


class PromptUnixClient(_PromptUnix, unix.Client):
    """A connection to a Unix socket."""


class _Port(tcp.Port):
    transport = PromptServer


class _Connector(tcp.Connector):
    def _makeTransport(self) -> PromptClient:
        return PromptClient(  # type: ignore[no-untyped-call]  # Twisted
            self.host, self.port, self.bindAddress, self, self.reactor
        )


class _UnixConnector(unix.Connector):
    def _makeTransport(self) -> Any:
        return PromptUnixClient(self.address, self, self.reactor, self.checkPID)  # type: ignore[no-untyped-call]  # Twisted


class PromptReactor(EPollReactor):
    """See the module. `at_turn_end` has something done when all events of this turn have been acted on.

    `turns` is how many turns have begun: one with each poll. What is timed comes between the turns.
    """

    def __init__(self) -> None:
        self.turns = 0
        self._at_end: list[Callable[[], None]] = []
        super().__init__()  # type: ignore[no-untyped-call]  # Twisted

    def at_turn_end(self, act: Callable[[], None]) -> None:
        """Call `act` before anything is waited for again."""
        self._at_end.append(act)

    def _end_turn(self) -> None:
        while self._at_end:
            acts, self._at_end = self._at_end, []
            for act in acts:
                try:
                    act()
                except Exception:  # noqa: BLE001 - as of a timed call: logged, and the others go on
                    log.err()  # type: ignore[no-untyped-call]  # Twisted

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """See `IReactorTCP`."""
        listening = _Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def adoptStreamPort(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See `IReactorSocket`; TCP alone (`appliance.acceptor` is for Unix sockets)."""
        if addressFamily != socket.AF_INET:
            raise ValueError("only an IPv4 socket can be adopted")
        listening = _Port._fromListeningDescriptor(  # type: ignore[no-untyped-call]  # noqa: SLF001 - Twisted's, as in its own
            self, fileDescriptor, addressFamily, factory
        )
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30.0, bindAddress: Any = None
    ) -> Any:
        """See `IReactorTCP`."""
        connector = _Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> Any:
        """See `IReactorSocket`; IPv4 and Unix sockets."""
        if addressFamily == socket.AF_UNIX:
            return PromptUnixServer._fromConnectedSocket(fileDescriptor, factory, self)  # type: ignore[no-untyped-call]  # noqa: SLF001 - as above
        if addressFamily != socket.AF_INET:
            raise ValueError("only an IPv4 or a Unix socket can be adopted")
        return PromptServer._fromConnectedSocket(  # type: ignore[no-untyped-call]  # noqa: SLF001 - as above
            fileDescriptor, addressFamily, factory, self
        )

    def connectUNIX(self, address: str, factory: Any, timeout: float = 30, checkPID: int = 0) -> Any:
        """See `IReactorUNIX`."""
        connector = _UnixConnector(address, factory, timeout, self, checkPID)  # type: ignore[no-untyped-call]  # Twisted
        connector.connect()
        return connector

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events, and act on each."""
        if self._at_end:
            self._end_turn()  # of what a timed call left; it may have made another
            timeout = 0
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(self._selectables))
        except InterruptedError:
            return
        self.turns += 1
        selectables = self._selectables
        for number, event in events:
            selectable: Any = selectables.get(number)
            if selectable is None:
                continue  # gone by what an event before it led to
            if event != select.EPOLLIN:
                log.callWithLogger(selectable, self._doReadOrWrite, selectable, number, event)  # type: ignore[no-untyped-call]  # Twisted
                continue
            try:
                why = selectable.doRead()
            except BaseException:  # noqa: BLE001 - as Twisted: logged, and the connection is given up
                why = sys.exc_info()[1]
                log.err()  # type: ignore[no-untyped-call]  # Twisted
            if why:
                self._disconnectSelectable(selectable, why, True)  # type: ignore[no-untyped-call]  # Twisted
        if self._at_end:
            self._end_turn()

    doIteration = doPoll


def install() -> None:
    """Make it this process's reactor, before anything imports `twisted.internet.reactor`."""
    installReactor(PromptReactor())  # type: ignore[no-untyped-call]  # Twisted
