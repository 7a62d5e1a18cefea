"""An opaque tunnel between two connected sockets, moved by the kernel: splice(2) through a pipe each way.

Bytes never enter Python. Each direction holds at most one pipe of bytes; when the far side does not take
them, the near side is no longer read, so TCP's own window pushes back on the sender. End of stream on one
side becomes a half-close of the other (shutdown(2) for writing) once the pipe is empty.

The sockets stay the property of whoever owns them: a tunnel reads and writes them while it runs, and says
through `finished` when it is over.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from twisted.internet.interfaces import IReadWriteDescriptor
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorFDSet
    from twisted.python.failure import Failure

LARGE = 1024 * 1024
GROWTH = ((1024 * 1024, 256 * 1024), (16 * 1024 * 1024, LARGE))
"""After how many bytes a direction's pipe is made how large, from the kernel's 64 KiB.

With 1 MiB a bulk transfer takes 0.27 s of a processor for each GB, with 256 KiB 0.33. Not from the start:
pipe(7) gives a user without privilege 64 MiB of pipes in all, and pipes of 8 KiB after them."""
MOST_LARGE = 16
"""Pipes of 1 MiB in one process: two workers keep half of the 64 MiB for others."""
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class _Direction:
    """One way through the tunnel: the pipe, and what is in it."""

    __slots__ = ("_growth", "ended", "held", "into", "moved", "out_of", "shut", "size")

    large: ClassVar[set[_Direction]] = set()

    def __init__(self) -> None:
        self.out_of, self.into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.size = fcntl.fcntl(self.into, fcntl.F_GETPIPE_SZ)
        self.held = 0
        self.moved = 0
        self.ended = False  # the source has sent its last byte
        self.shut = False  # and the destination has been told
        self._growth = list(GROWTH)

    def delivered(self, count: int) -> None:
        """So many bytes have left the pipe."""
        self.held -= count
        self.moved += count
        if self._growth and self.moved >= self._growth[0][0]:
            self._grow()

    def _grow(self) -> None:
        _, size = self._growth.pop(0)
        if size == LARGE:
            if len(self.large) >= MOST_LARGE:
                return
            self.large.add(self)
        # pipe(7): over the user's soft limit of pipe pages; the size it has is good enough.
        with suppress(OSError):
            self.size = fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, size)

    def close(self) -> None:
        self.large.discard(self)
        os.close(self.into)
        os.close(self.out_of)


@implementer(IReadWriteDescriptor)
class _End:
    """One socket of the tunnel, as the reactor sees it: source of `sends`, destination of `takes`."""

    def __init__(self, tunnel: Tunnel, sock: socket.socket, sends: _Direction, takes: _Direction) -> None:
        self._tunnel = tunnel
        self.sock = sock
        self._number = sock.fileno()
        self.sends = sends
        self.takes = takes
        self.peer: _End

    def logPrefix(self) -> str:
        return "tunnel"

    def fileno(self) -> int:
        return self._number

    def doRead(self) -> None:
        self._tunnel.pull(self)

    def doWrite(self) -> None:
        self._tunnel.push(self)

    def connectionLost(self, reason: Failure) -> None:
        del reason
        self._tunnel.hung_up(self)


class Tunnel:
    """Splices `left` and `right` (connected, non-blocking) until both have ended, or `abort`.

    `finished(clean)` is called once; by then the reactor knows neither socket. `moved` counts the bytes
    (left to right, right to left) that reached the far socket. `touched` is called whenever bytes moved.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        left: socket.socket,
        right: socket.socket,
        finished: Callable[[bool], None],
        touched: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._finished: Callable[[bool], None] | None = finished
        self._touched = touched
        self._rightward = _Direction()
        try:
            self._leftward = _Direction()
        except OSError:  # no descriptors left, and there would be two fewer for good
            self._rightward.close()
            raise
        self._left = _End(self, left, self._rightward, self._leftward)
        self._right = _End(self, right, self._leftward, self._rightward)
        self._left.peer, self._right.peer = self._right, self._left

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes delivered: (left to right, right to left)."""
        return self._rightward.moved, self._leftward.moved

    def start(self) -> None:
        """Begin to move bytes."""
        self._reactor.addReader(self._left)
        self._reactor.addReader(self._right)

    def abort(self) -> None:
        """Stop at once; what is in the pipes is lost."""
        self._finish(clean=False)

    def pull(self, end: _End) -> None:
        """Take what `end` has to read into its pipe, then offer it to the peer."""
        way = end.sends
        try:
            count = os.splice(end.fileno(), way.into, way.size, flags=_FLAGS)
        except BlockingIOError:
            # Nothing there after all, or the pipe has no free page although `held` is below its size.
            if way.held:
                self._wait_for_room(end)
            return
        except OSError:
            self.abort()
            return
        if count == 0:
            way.ended = True
            self._reactor.removeReader(end)
        way.held += count
        self.push(end.peer)

    def push(self, end: _End) -> None:
        """Give `end` what its pipe holds; stop reading the peer while it does not take all."""
        way = end.takes
        while way.held:
            try:
                count = os.splice(way.out_of, end.fileno(), way.held, flags=_FLAGS)
            except BlockingIOError:
                self._wait_for_room(end.peer)
                return
            except OSError:
                self.abort()
                return
            way.delivered(count)
            self._touched()
        self._reactor.removeWriter(end)
        if not way.ended:
            self._reactor.addReader(end.peer)
        elif not way.shut:
            self._shut(end)

    def hung_up(self, end: _End) -> None:
        """The kernel reports that `end` is shut in both directions, with nothing left to read."""
        end.sends.ended = True
        end.takes.shut = True
        if end.takes.held or not end.takes.ended:
            self.abort()  # nobody is left to take what the peer sends
            return
        self.push(end.peer)

    def _wait_for_room(self, source: _End) -> None:
        """`source`'s pipe is to be emptied before it is read again."""
        self._reactor.removeReader(source)
        self._reactor.addWriter(source.peer)

    def _shut(self, end: _End) -> None:
        end.takes.shut = True
        try:
            end.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()
            return
        if self._rightward.shut and self._leftward.shut:
            self._finish(clean=True)

    def _finish(self, *, clean: bool) -> None:
        finished, self._finished = self._finished, None
        if finished is None:
            return
        for end in (self._left, self._right):
            self._reactor.removeReader(end)
            self._reactor.removeWriter(end)
        self._rightward.close()
        self._leftward.close()
        finished(clean)
