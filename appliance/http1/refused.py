"""How reading ends when it does not end well: whose fault it was, which status, which stable code.

Only these leave the package. `Refused` blames the client and is answered on its connection; `UpstreamInvalid`
blames the server and becomes 502. After either, the connection the bytes came from is closed: what follows on
it has no agreed framing any more (RFC 9112 section 11.2).
"""

from __future__ import annotations

from dataclasses import dataclass


class ProtocolFault(Exception):
    """Bytes that this package will not take. `reason` is a stable kebab-case code, `detail` one sentence."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status = status
        self.reason = reason
        self.detail = detail


class Refused(ProtocolFault):
    """The client's request is not taken; `status` (4xx or 5xx) is what to answer before closing."""


class UpstreamInvalid(ProtocolFault):
    """The server's answer cannot be passed on; `status` is 502 (RFC 9110 section 15.6.3)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(502, reason, detail)


@dataclass(frozen=True, slots=True)
class NeedMore:
    """No verdict yet. `searched` is how far the buffer was looked at: hand it back with the longer buffer."""

    searched: int = 0
