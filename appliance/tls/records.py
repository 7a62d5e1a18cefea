"""Where TLS records end (RFC 8446 section 5.1): a header of five octets says how many follow.

OpenSSL keeps the beginning of a record until the rest is there, and says to nobody that it does.
"""

from __future__ import annotations

_HEADER = 5
_LENGTH_AT = 3


class Records:
    """Counts along with octets as they arrive, in pieces of any size; they are not looked at otherwise."""

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is missing of a record that has begun."""
        return not (self._left or self._header)

    def feed(self, data: bytes) -> None:
        """Octets that have arrived."""
        at, size = 0, len(data)
        if size > _HEADER and self.whole:
            # What a read mostly brings: one record or the beginning of one.
            left = int.from_bytes(data[_LENGTH_AT:_HEADER]) - (size - _HEADER)
            if left >= 0:
                self._left = left
                return
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left -= step
                at += step
                continue
            missing = _HEADER - len(self._header)
            self._header += data[at : at + missing]
            at += missing
            if len(self._header) == _HEADER:
                self._left = int.from_bytes(self._header[_LENGTH_AT:])
                self._header = b""
