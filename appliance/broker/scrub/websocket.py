"""A server's side of a WebSocket (RFC 6455): frames in, frames without secrets out.

Frames are read strictly, as the gateway reads them (`appliance.websocket`): no extension, so nothing is
compressed. A message is one stream, wherever its frames are cut; each frame goes on as one of another length,
at once, unless all of it is held back. Control frames in between go on when they come; a control frame is
scrubbed by itself.
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.stream import Stream
from appliance.http1.refused import UpstreamInvalid
from appliance.websocket.frames import MAX_CONTROL, Frames

_FINAL, _OPCODE, _CONTINUATION, _CLOSE = 0x80, 0x0F, 0x0, 0x8


class ServerFrames:
    """One connection. `ended` once a Close frame has gone on; after a failure nothing more goes on."""

    def __init__(self, new_stream: Callable[[], Stream]) -> None:
        """`new_stream` gives one for each message."""
        self._new_stream = new_stream
        self._frames = Frames(blame=UpstreamInvalid)
        self._stream: Stream | None = None
        self._opcode = _CONTINUATION
        self._first = self._left = 0
        self._open = True

    @property
    def ended(self) -> bool:
        """Whether the server has closed."""
        return self._frames.ended

    @property
    def count(self) -> int:
        """How many frames have come, whole or in part."""
        return self._frames.count

    @property
    def close_code(self) -> int | None:
        """The one that the server gave."""
        return self._frames.close_code

    def feed(self, data: bytes) -> bytes:
        """A server's octets; those for the client. Raises `UpstreamInvalid`, `ScrubFault`."""
        if not self._open:
            raise ScrubFault("scrub-failed", "the connection has failed before")
        self._open = False
        try:
            passed = self._read(self._frames.feed(data))
        except (ScrubFault, UpstreamInvalid):
            raise
        except Exception:  # noqa: BLE001 - whatever it was, nothing goes on
            raise ScrubFault("scrub-failed", "the scrubber itself failed") from None
        self._open = True
        return passed

    def _read(self, data: bytes) -> bytes:
        """Well-formed frames, of which only the payload of a data frame may break off."""
        out: list[bytes] = []
        at = 0
        while at < len(data):
            if not self._left:
                self._first, short = data[at], data[at + 1]
                width = {126: 2, 127: 8}.get(short, 0)
                self._left = int.from_bytes(data[at + 2 : at + 2 + width], "big") if width else short
                at += 2 + width
            piece = data[at : at + self._left]
            at += len(piece)
            self._left -= len(piece)
            if self._first & _OPCODE >= _CLOSE:
                out.append(self._control(piece))
            else:
                out.append(self._data(piece))
        return b"".join(out)

    def _data(self, piece: bytes) -> bytes:
        if self._stream is None:
            self._stream, self._opcode = self._new_stream(), self._first & _OPCODE
        passed = self._stream.feed(piece)
        final = bool(self._first & _FINAL) and not self._left
        if final:
            passed += self._stream.end()
            self._stream = None
        if not passed and not final:
            return b""
        opcode, self._opcode = self._opcode, _CONTINUATION
        return _frame(opcode | (_FINAL if final else 0), passed)

    def _control(self, payload: bytes) -> bytes:
        stream = self._new_stream()
        code = payload[:2] if self._first & _OPCODE == _CLOSE else b""
        said = stream.feed(payload[len(code) :]) + stream.end()
        if len(code) + len(said) > MAX_CONTROL:
            said = b""
        return _frame(self._first, code + said)


def _frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size <= MAX_CONTROL:
        return bytes((first, size)) + payload
    if size <= 0xFFFF:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
