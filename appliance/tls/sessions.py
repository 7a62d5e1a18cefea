"""TLS sessions with servers, kept to be resumed: a handshake then costs half (260 us instead of 520).

A session is proof that the other side is who it was when its certificate was verified. So it is good for the
same key only (whose request it serves, and the server), for the name that was verified, for `LIFE` from that
moment on however often it is resumed, and once: a server learns nothing about who its clients are (RFC 8446
appendix C.4).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from OpenSSL import SSL

from appliance.names import HostName

LIFE = 600.0
"""Seconds for which a verified certificate is not asked for again. A resting connection may last longer."""

CAPACITY = 256
"""Sessions of a worker; each holds the server's chain, some 10 KiB."""


@dataclass(frozen=True, slots=True)
class Resumable:
    """A session of a server that has proved to be `name`; not to be offered from `ends` on."""

    session: SSL.Session
    name: HostName
    ends: float


class Sessions:
    """One for each key, least recently kept dropped first. `now` in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic, capacity: int = CAPACITY) -> None:
        self._now = now
        self._capacity = capacity
        self._kept: OrderedDict[Hashable, Resumable] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: Hashable, resumable: Resumable) -> None:
        """For the next connection of `key`."""
        self._kept[key] = resumable
        self._kept.move_to_end(key)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)

    def take(self, key: Hashable) -> Resumable | None:
        """What was kept for `key`, which nobody else gets."""
        found = self._kept.pop(key, None)
        return None if found is None or found.ends <= self._now() else found
