"""One process at a time: who comes second finds what the first has made."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKS = Path("/run/lock")


@contextmanager
def turn(name: str) -> Iterator[None]:
    """Hold `name` of this host, after whoever holds it. The kernel gives it back with the process."""
    with (LOCKS / f"egress-lab-{name.replace('/', '-')}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
