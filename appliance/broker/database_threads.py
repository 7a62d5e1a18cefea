"""Threads for the broker's database alone: one that is slow holds up neither names nor anything else.

Twisted's own threads look up names and more, and what waits for them has no bound. Here both have one, and
who comes when it is reached is refused at once, as where the database does not answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred, fail
from twisted.python.threadpool import ThreadPool

THREADS = 8
"""More would wait for one another: SQLite has one writer, and so have a tenant's sessions."""
WAITING = 1024
"""Of 1 ms each, on SQLite, they are done in a second. An endpoint has at most 32 (`api.listener`)."""

T = TypeVar("T")


class DatabaseBusy(SQLAlchemyError):
    """Too much waits for the database: nothing was asked of it."""


class DatabaseThreads:
    """Runs blocking functions; see `calls.secrets.InThread`."""

    def __init__(self, reactor: Any, threads: int = THREADS, waiting: int = WAITING) -> None:
        """No thread runs before it is needed, and none before `start`."""
        self._reactor = reactor
        self._most = threads + waiting
        self._under_way = 0
        self._pool = ThreadPool(0, threads, "database")

    def start(self) -> None:
        """Do what was asked for, from now on."""
        self._pool.start()

    def stop(self) -> None:
        """Wait until what has begun is done."""
        self._pool.stop()

    def __call__(self, function: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """What the function returns or raises. Fails with `DatabaseBusy`.

        Who cancels waits no longer; the function is run all the same, and counts until it is done.
        """
        if self._under_way >= self._most:
            return fail(DatabaseBusy("too much waits for the database"))
        self._under_way += 1
        deferred: Deferred[T] = Deferred()

        def done(success: bool, result: Any) -> None:  # noqa: FBT001 - Twisted's
            self._reactor.callFromThread(self._done, deferred, success, result)

        self._pool.callInThreadWithCallback(done, function, *arguments)
        return deferred

    def _done(self, deferred: Deferred[T], success: bool, result: Any) -> None:  # noqa: FBT001 - Twisted's
        self._under_way -= 1
        if success:
            deferred.callback(result)
        else:
            deferred.errback(result)
