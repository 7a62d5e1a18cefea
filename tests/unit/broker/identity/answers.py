"""Answers of servers that are not there, and what became of a coroutine."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred


class Pieces:
    """An answer whose body comes in pieces; counts what it has given, and whether it was closed."""

    def __init__(self, body: bytes, piece: int = 1 << 20, status: int = 200) -> None:
        self.status = status
        self.given = 0
        self.aborted = 0
        self.stuck: Deferred[bytes] | None = None
        self._body = body
        self._piece = piece

    async def read(self, most: int) -> bytes:
        assert most > 0
        if self.stuck is not None:
            return await self.stuck
        piece = self._body[self.given : self.given + min(most, self._piece)]
        self.given += len(piece)
        return piece

    def abort(self) -> None:
        self.aborted += 1


def outcome(work: Coroutine[Deferred[Any], Any, Any]) -> Any:
    """What `work` returned or raised; it has to be over."""
    seen: list[Any] = []
    Deferred.fromCoroutine(work).addCallbacks(seen.append, lambda failure: seen.append(failure.value))
    assert seen, "it still waits"
    return seen[0]
