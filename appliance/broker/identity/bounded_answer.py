"""An answer of another server, read piece by piece: no more than its limit, no longer than its time.

The function that asks is the caller's (`Answer` is what it gives back), so nothing here opens a connection.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

T = TypeVar("T")


class Answer(Protocol):
    """The head of an answer has come; its body waits to be read."""

    status: int

    async def read(self, most: int) -> bytes:
        """The next octets of the body, `most` at most; empty at its end."""

    def abort(self) -> None:
        """Nobody reads on: close the connection. No harm after the end, or twice."""


class AnswerTooLarge(Exception):
    """The body is longer than its limit."""


class AnswerTooSlow(Exception):
    """It was not there in time."""


async def read_bounded(answer: Answer, limit: int) -> bytes:
    """The whole body. Raises `AnswerTooLarge` once one octet more than `limit` is there."""
    body = bytearray()
    while piece := await answer.read(limit + 1 - len(body)):
        body += piece
        if len(body) > limit:
            raise AnswerTooLarge
    return bytes(body)


async def within(seconds: float, clock: IReactorTime, work: Coroutine[Deferred[Any], Any, T]) -> T:
    """What `work` returns. Raises `AnswerTooSlow`; then it was cancelled, as when the caller is."""
    deferred: Deferred[T] = Deferred.fromCoroutine(work)
    deferred.addTimeout(seconds, clock, _too_slow)
    return await deferred


def _too_slow(result: object, seconds: float) -> Failure:
    # Whatever the work made of being cancelled.
    del result, seconds
    return Failure(AnswerTooSlow())  # type: ignore[no-untyped-call]  # Twisted's
