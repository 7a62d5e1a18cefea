"""Hands a starting container the root that it is to trust, as the gateway would; knows no other answer.

A runner image's first process asks its network's gateway address for it (`images/entrypoint`). Nothing here
is about the caller, so nothing of the caller's is read but that one request line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.protocol import Protocol, ServerFactory, connectionDone

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

LONGEST_HEAD = 8 * 1024
WITHIN = 5.0
"""Seconds that a caller has for its request, and then for taking the answer."""
MOST = 256
"""Callers at the same time; one more is closed."""

_ASKED = re.compile(rb"(GET|HEAD) /\.well-known/egress/ca\.pem HTTP/1\.[01]\r\n")
_AWAY = {
    "type": "about:blank",
    "title": "Refused by the egress fallback",
    "status": 503,
    "reason": "gateway-away",
    "layer": "squid-fallback",
    "detail": "The gateway is away; until it is back, requests are answered as a proxy's only.",
    "mend": "Ask by the proxy variables, or try again in a moment.",
}


def answer(head: bytes, root_pem: bytes) -> bytes:
    """The whole response to a request head; `root_pem` is empty while there is none."""
    found = _ASKED.match(head)
    if found is None or not root_pem:
        return _response(
            "503 Service Unavailable", "application/problem+json", json.dumps(_AWAY).encode() + b"\n"
        )
    return _response("200 OK", "application/x-pem-file", root_pem, head_only=found[1] == b"HEAD")


def _response(status: str, kind: str, body: bytes, *, head_only: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if head_only else body)


class _Caller(Protocol):
    """One request, one answer, and the end."""

    factory: Bundle

    def __init__(self) -> None:
        self._head = b""
        self._answered = False
        self._late: IDelayedCall | None = None

    def connectionMade(self) -> None:
        if not self.factory.admitted(self):
            self._abort()
            return
        self._late = self.factory.clock.callLater(WITHIN, self._abort)

    def dataReceived(self, data: bytes) -> None:
        if self._answered or self.transport is None:
            return
        self._head += data
        if b"\r\n\r\n" not in self._head and len(self._head) <= LONGEST_HEAD:
            return
        self._answered = True
        if self._late is not None and self._late.active():
            self._late.reset(WITHIN)
        self.transport.write(answer(self._head, self.factory.root_pem()))
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        del reason
        self.factory.gone(self)
        if self._late is not None and self._late.active():
            self._late.cancel()

    def _abort(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]  # a stream socket's transport has it


class Bundle(ServerFactory[_Caller]):
    """Makes a protocol for each caller; `root_pem` gives the root, empty while there is none."""

    noisy = False

    def __init__(self, clock: IReactorTime, root_pem: Callable[[], bytes]) -> None:
        self.clock, self.root_pem = clock, root_pem
        self._callers: set[_Caller] = set()

    def buildProtocol(self, addr: IAddress | None) -> _Caller:
        """One caller."""
        del addr
        made = _Caller()
        made.factory = self
        return made

    def admitted(self, caller: _Caller) -> bool:
        """Whether there is room for one more."""
        if len(self._callers) >= MOST:
            return False
        self._callers.add(caller)
        return True

    def gone(self, caller: _Caller) -> None:
        """It is."""
        self._callers.discard(caller)
