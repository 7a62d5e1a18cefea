"""Tells the service manager that a process is ready, and from then on that it is alive (sd_notify(3)).

Without $NOTIFY_SOCKET nobody wants to know, and nothing is sent: so it is under `egress up`, which asks the
control sockets. What comes from the reactor's own clock is proof that the reactor turns.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING

from twisted.logger import Logger

from appliance.inherited import NOTIFY_VARIABLES

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

LOOK_EVERY = 0.1
"""Seconds between two looks at a process that is not ready yet."""
OF_WATCHDOG = 3
"""Signs of life in the time that the service manager waits for one: a late one is no missing one."""

_log = Logger()


class Readiness:
    """One process; `ready` says whether it serves, `tell` takes a message and says whether it was taken.

    `watchdog` is the time in seconds after which the service manager ends a silent process; None without one.
    """

    def __init__(
        self,
        clock: IReactorTime,
        ready: Callable[[], bool],
        tell: Callable[[bytes], bool],
        watchdog: float | None,
    ) -> None:
        self._clock, self._ready, self._tell, self._watchdog = clock, ready, tell, watchdog

    def start(self) -> None:
        """Look until it is ready, say so once, and give signs of life."""
        if not (self._ready() and self._tell(b"READY=1")):
            self._clock.callLater(LOOK_EVERY, self.start)
        elif self._watchdog is not None:
            self._live(self._watchdog / OF_WATCHDOG)

    def _live(self, every: float) -> None:
        self._tell(b"WATCHDOG=1")
        self._clock.callLater(every, self._live, every)


def report_readiness(
    clock: IReactorTime, ready: Callable[[], bool], environment: MutableMapping[str, str] = os.environ
) -> None:
    """Report to whom $NOTIFY_SOCKET names, if anybody; no child of ours inherits the variables."""
    path, microseconds, pid = (environment.pop(name, "") for name in NOTIFY_VARIABLES)
    if path:
        Readiness(clock, ready, _teller(path), _watchdog(microseconds, pid)).start()


def _watchdog(microseconds: str, pid: str) -> float | None:
    """Seconds; sd_watchdog_enabled(3): another's, where a pid is named that is not ours."""
    if pid not in {"", str(os.getpid())} or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000


def _teller(path: str) -> Callable[[bytes], bool]:
    address = "\0" + path[1:] if path.startswith("@") else path

    def tell(message: bytes) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(message, address)
        except OSError as error:
            _log.warn("{message} not sent to {path}: {error}", message=message, path=path, error=str(error))
            return False
        return True

    return tell
