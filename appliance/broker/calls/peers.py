"""How many connections the gateway's processes have to one socket of the broker.

One that was taken over may open what it likes; the others' calls, and certificates, need descriptors as well.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """At the same time."""

    of_process: int
    in_all: int


class Peers(Generic[T]):
    """Connections, by the process that the kernel named when they were made."""

    def __init__(self, limits: PeerLimits) -> None:
        self._limits = limits
        self._connections: dict[T, int] = {}
        self._of_process: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._connections)

    def connections(self) -> tuple[T, ...]:
        """Those that were let in and have not left."""
        return tuple(self._connections)

    def enter(self, connection: T, pid: int) -> bool:
        """Whether there is room for it; then it counts until it leaves."""
        limits = self._limits
        if len(self) >= limits.in_all or self._of_process[pid] >= limits.of_process:
            return False
        self._connections[connection] = pid
        self._of_process[pid] += 1
        return True

    def leave(self, connection: T) -> None:
        """It is gone. One that was never let in is no error."""
        pid = self._connections.pop(connection, None)
        if pid is None:
            return
        self._of_process[pid] -= 1
        if not self._of_process[pid]:
            del self._of_process[pid]
