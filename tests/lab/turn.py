"""One process at a time: who comes second finds what the first has made."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKS = Path("/var/cache/egress-lab/locks")  # where nobody but root writes
WITHIN = 280.0
"""Seconds, fewer than a test may take: what is made takes minutes on a slow machine."""


@contextmanager
def turn(name: str, within: float = WITHIN) -> Iterator[None]:
    """Hold `name` of this host, after whoever holds it. The kernel gives it back with the process.

    Raises `RuntimeError` when it is not free within so many seconds.
    """
    LOCKS.mkdir(parents=True, exist_ok=True)
    path = LOCKS / f"{name.replace('/', '-')}.lock"
    with path.open("w") as lock:
        for _ in range(max(1, round(within / 0.2))):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.2)
        else:
            raise RuntimeError(f"{name} is still being made elsewhere; mend: end who holds {path} (lsof)")
        yield
