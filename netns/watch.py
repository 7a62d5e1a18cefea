"""Listens to the kernel in both namespaces, and to the name of the gateway's; tells what it hears."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.inotify import IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO, INotify
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.filepath import FilePath
from zope.interface import implementer

from netns import namespaces
from netns.notices import LOST, NFTABLES_GROUPS, ROUTE_GROUPS, Notice, Transactions, route_notices
from netns.state import Side

if TYPE_CHECKING:
    from twisted.python.failure import Failure

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
DATAGRAMS_A_TURN = 64
BUFFER = 1024 * 1024  # octets of notices that may wait for us
LARGEST = 65536
DOCKER_USER_TABLE = "filter"  # iptables-nft keeps Docker's chain there; the older iptables tells nobody
NAME_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO

Heard = Callable[[Notice], None]
_log = Logger()


class OurThreads:
    """Numbers of threads of this process, by which the kernel names who changed its rules."""

    def __contains__(self, number: object) -> bool:
        return Path(f"/proc/self/task/{number}").exists()


@implementer(IReadDescriptor)
class Ear:
    """One netlink socket of `protocol` in the namespace of the calling thread, read until closed."""

    def __init__(
        self,
        reactor: Any,
        protocol: int,
        groups: Iterable[int],
        read: Callable[[bytes], Iterable[Notice]],
        heard: Heard,
    ) -> None:
        """Raises `OSError`."""
        self._reactor = reactor
        self._read = read
        self._heard = heard
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
            self._socket.bind((0, sum(1 << (group - 1) for group in groups)))
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def fileno(self) -> int:
        """Descriptor to watch, -1 when closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Name in the reactor's log."""
        return "kernel watch"

    def doRead(self) -> None:
        """Tell what has come."""
        for _ in range(DATAGRAMS_A_TURN):
            try:
                datagram = self._socket.recv(LARGEST)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # netlink(7): the kernel dropped notices because we were slow; so anything may have changed.
                self._heard(Notice(LOST))
                return
            for notice in self._read(datagram):
                self._heard(notice)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave the descriptor up (at its shutdown)."""
        del reason
        self.close()

    def close(self) -> None:
        """Hear no more."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()


class KernelWatch:
    """Ears in the gateway namespace and outside of it.

    `expected` (see `netns.notices.route_notices`) says what is our own doing in the gateway namespace.
    `outside` names the other namespace, None for the host's; there only what mentions the link `peer` counts,
    and transactions on one of `host_tables`.
    """

    def __init__(
        self,
        reactor: Any,
        gateway: str,
        outside: str | None,
        peer: str,
        host_tables: frozenset[str],
        *,
        expected: Callable[[int, int, bytes], bool],
    ) -> None:
        self._reactor = reactor
        self._gateway = gateway
        self._outside = outside
        self._peer = peer.encode()
        self._host_tables = host_tables
        self._expected = expected
        self._heard: Heard = lambda _notice: None
        self._ears: dict[Side, tuple[int, list[Ear]]] = {}
        self._names: INotify | None = None

    def start(self, heard: Heard) -> None:
        """Tell `heard` from now on. Raises `OSError`."""
        self._heard = heard
        self._names = INotify(self._reactor)  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._names.startReading()  # type: ignore[no-untyped-call]  # as above
        directory = FilePath(str(namespaces.RUN))
        self._names.watch(directory, mask=NAME_EVENTS, callbacks=[self._name_changed])  # type: ignore[no-untyped-call]  # as above
        self.follow()

    def follow(self) -> None:
        """Listen in the namespaces that bear the names now. Raises `OSError`."""
        for side, name in ((Side.GATEWAY, self._gateway), (Side.OUTSIDE, self._outside)):
            identity = namespaces.identity(name)
            known = self._ears.get(side)
            if known is not None and known[0] == identity:
                continue
            self._close(side)
            if identity is not None:
                self._ears[side] = (identity, [])
                with namespaces.entered(name):
                    self._listen(side, self._ears[side][1])

    def stop(self) -> None:
        """Hear no more."""
        for side in Side:
            self._close(side)
        if self._names is not None:
            self._names.stopReading()  # type: ignore[no-untyped-call]  # untyped in Twisted
            self._names = None

    def _listen(self, side: Side, ears: list[Ear]) -> None:
        inside = side is Side.GATEWAY
        mentions = b"" if inside else self._peer + b"\0"
        groups = tuple(g for g in ROUTE_GROUPS if inside or g in _OUTER_GROUPS)
        transactions = Transactions(OurThreads(), None if inside else self._host_tables)
        told = self._heard

        def routes(data: bytes) -> Iterator[Notice]:
            return route_notices(data, mentions, self._expected) if inside else route_notices(data, mentions)

        ears.append(Ear(self._reactor, NETLINK_ROUTE, groups, routes, told))
        if inside or self._host_tables:
            ears.append(Ear(self._reactor, NETLINK_NETFILTER, NFTABLES_GROUPS, transactions.take, told))

    def _close(self, side: Side) -> None:
        for ear in self._ears.pop(side, (0, []))[1]:
            ear.close()

    def _name_changed(self, _watch: object, where: Any, _mask: int) -> None:
        if Path(os.fsdecode(where.path)).name == self._gateway:
            self._heard(Notice(f"name of network namespace {self._gateway} changed"))


_OUTER_GROUPS = (1, 5, 24)  # links, addresses, settings: outside, routes and rules are not ours
