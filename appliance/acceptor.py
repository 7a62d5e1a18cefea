"""Accepts connections on an inherited listening Unix socket.

`reactor.adoptStreamPort` is not fit for one: it sets the socket file's mode to 0666, whatever the launcher
chose, and removes the file when the port closes (Twisted 26.10, `internet/unix.py`); both also fail for a
process that does not own the file. This one touches the descriptor only.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import (
    IReactorFDSet,
    IReactorSocket,
    IReactorTime,
    IReadDescriptor,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.python.failure import Failure

ACCEPTS_A_TURN = 64
"""Connections taken in one turn of the reactor, so that a flood here cannot starve other sockets."""

PAUSE = 0.5
"""Seconds without accepting after the process or the machine ran out of descriptors or memory."""

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = Logger()


class Reactor(IReactorFDSet, IReactorSocket, IReactorTime):
    """What the acceptor needs of a reactor."""


@implementer(IReadDescriptor)
class Acceptor:
    """A listening socket whose connections are given to `factory` from construction to `close`."""

    def __init__(self, reactor: Reactor, listening: socket.socket, factory: ServerFactory[Any]) -> None:
        listening.setblocking(False)
        self._reactor = reactor
        self._listening = listening
        self._factory = factory
        factory.doStart()  # type: ignore[no-untyped-call]  # untyped in Twisted
        reactor.addReader(self)

    def close(self) -> None:
        """Stop accepting; connections that are open stay. The socket file stays too: it is the launcher's."""
        if self._listening.fileno() >= 0:
            self._reactor.removeReader(self)
            self._listening.close()
            self._factory.doStop()  # type: ignore[no-untyped-call]  # untyped in Twisted

    def fileno(self) -> int:
        """Descriptor to watch, -1 when closed."""
        return self._listening.fileno()

    def logPrefix(self) -> str:
        """Name in the reactor's log."""
        return "acceptor"

    def doRead(self) -> None:
        """Accept what waits."""
        for _ in range(ACCEPTS_A_TURN):
            try:
                connection, _address = self._listening.accept()
                with connection:  # The reactor works on its own duplicate of the descriptor.
                    connection.setblocking(False)
                    self._reactor.adoptStreamConnection(connection.fileno(), socket.AF_UNIX, self._factory)
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._accept_failed(error)
                return

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave the descriptor up (at its shutdown)."""
        del reason
        self.close()

    def _accept_failed(self, error: OSError) -> None:
        if error.errno not in _EXHAUSTED:
            raise error
        _log.error("cannot accept: {error}", error=error.strerror)
        self._reactor.removeReader(self)
        self._reactor.callLater(PAUSE, self._accept_again)

    def _accept_again(self) -> None:
        if self._listening.fileno() >= 0:
            self._reactor.addReader(self)
