"""One direction of a WebSocket: frames (RFC 6455 section 5) are read strictly and written anew.

Every frame's head is understood before a byte of the frame goes on, and what goes on is made from what was
understood. A client's payload gets another masking key, drawn here: which octets stand on the wire is not for
the client to choose (section 10.3), so a connection cannot carry a protocol other than this one.

Data passes through piece by piece; only an unfinished head or control frame is kept, at most 139 octets. Text
is not checked to be UTF-8: it is the receiver who has to (section 8.1).
"""

from __future__ import annotations

from collections.abc import Callable

from appliance.http1.refused import Refused, UpstreamInvalid

FAULT = "websocket-frame-invalid"
MAX_CONTROL = 125

_FINAL, _RESERVED, _OPCODE, _MASKED, _LENGTH = 0x80, 0x70, 0x0F, 0x80, 0x7F
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN = frozenset({_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG})

# Section 7.4.1 and IANA's registry: those that may stand in a frame, besides 3000 to 4999.
_CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class Frames:
    """Reads frames as they arrive and gives the octets that go on.

    `payload` counts the octets of payload so far, `count` the frames that have begun. `ended` once a Close
    frame has come; what follows it is thrown away (section 1.4). `close_code` is the one that it gave.
    """

    def __init__(
        self, *, new_mask: Callable[[], bytes] | None = None, blame: type[Refused | UpstreamInvalid] = Refused
    ) -> None:
        """`new_mask` draws four octets a frame: given for a client's frames, which must be masked."""
        self._new_mask = new_mask
        self._blame = blame
        self._unread = b""
        self._left = 0
        self._mask = b""
        self._in_message = False
        self.payload = self.count = 0
        self.ended = False
        self.close_code: int | None = None

    @property
    def between_frames(self) -> bool:
        """Whether a whole number of frames has gone on."""
        return not self._left

    @property
    def between_messages(self) -> bool:
        """Whether a whole number of messages has gone on, and nothing of another has come."""
        return not (self._left or self._in_message or self._unread)

    def feed(self, data: bytes) -> bytes:
        """Octets from one side; those for the other. Raises the fault of `blame`."""
        data = self._unread + data if self._unread else data
        at, size = 0, len(data)
        parts: list[bytes] = []
        while at < size and not self.ended:
            if not self._left:
                begun = self._begin(data, at, parts)
                if begun < 0:
                    break
                at = begun
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                parts.append(self._masked_anew(piece))
        self._unread = b"" if self.ended else data[at:]
        return b"".join(parts)

    def _begin(self, data: bytes, at: int, parts: list[bytes]) -> int:
        """Take a frame's head, or a whole control frame; where what follows begins, -1: more is needed."""
        if len(data) - at < 2:
            return -1
        first, second = data[at], data[at + 1]
        opcode, length = first & _OPCODE, second & _LENGTH
        self._judge_head(first, second)
        at += 2
        if length > MAX_CONTROL:
            width = 2 if length == 126 else 8
            if len(data) - at < width:
                return -1
            length = int.from_bytes(data[at : at + width], "big")
            # Section 5.2: the shortest form, and the highest bit zero.
            if length <= (MAX_CONTROL if width == 2 else 0xFFFF) or length >> 63:
                raise self._fault("a length that is not written in its shortest form")
            at += width
        mask = b""
        if self._new_mask is not None:
            mask, at = data[at : at + 4], at + 4
        if len(data) < at + (length if opcode >= _CLOSE else 0):
            return -1
        self.count += 1
        if opcode >= _CLOSE:
            return self._take_control(first, mask, data[at : at + length], parts) + at
        self._in_message = not first & _FINAL
        self.payload += length
        self._left = length
        parts.append(self._head(first, length, mask))
        return at

    def _judge_head(self, first: int, second: int) -> None:
        opcode, final = first & _OPCODE, bool(first & _FINAL)
        if first & _RESERVED:
            raise self._fault("a reserved bit is set and no extension was agreed on")
        if opcode not in _KNOWN:
            raise self._fault(f"opcode {opcode:#x} is reserved")
        if bool(second & _MASKED) != (self._new_mask is not None):
            # Section 5.1: a client masks every frame, a server none.
            raise self._fault("a client's frame that is not masked, or a server's that is")
        if opcode >= _CLOSE:
            if not final or second & _LENGTH > MAX_CONTROL:
                raise self._fault("a control frame that is fragmented or over 125 octets")
        elif (opcode == _CONTINUATION) != self._in_message:
            raise self._fault("a continuation of nothing, or a message within another")

    def _take_control(self, first: int, mask: bytes, payload: bytes, parts: list[bytes]) -> int:
        if first & _OPCODE == _CLOSE:
            self._judge_close(_xor(payload, mask) if mask else payload)
            self.ended = True
        self.payload += len(payload)
        parts.append(self._head(first, len(payload), mask))
        parts.append(self._masked_anew(payload))
        return len(payload)

    def _judge_close(self, payload: bytes) -> None:
        """Section 5.5.1: nothing, or a code and a reason in UTF-8."""
        if not payload:
            return
        code = int.from_bytes(payload[:2], "big")
        if len(payload) < 2 or not (code in _CLOSE_CODES or 3000 <= code <= 4999):
            raise self._fault("a Close frame with a code that may not be sent")
        try:
            payload[2:].decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._fault("a Close frame whose reason is not UTF-8") from error
        self.close_code = code

    def _head(self, first: int, length: int, mask: bytes) -> bytes:
        """The head that goes on; from here on `_masked_anew` turns the old mask into the new one."""
        if self._new_mask is None:
            return _written(first, length, 0)
        new = self._new_mask()
        self._mask = _xor(mask, new)
        return _written(first, length, _MASKED) + new

    def _masked_anew(self, piece: bytes) -> bytes:
        if self._new_mask is None or not piece:
            return piece
        turn = len(piece) % 4
        piece, self._mask = _xor(piece, self._mask), self._mask[turn:] + self._mask[:turn]
        return piece

    def _fault(self, detail: str) -> Refused | UpstreamInvalid:
        if issubclass(self._blame, Refused):
            return Refused(400, FAULT, detail)
        return UpstreamInvalid(FAULT, detail)


def close_frame(code: int, reason: str) -> bytes:
    """A server's Close frame; `reason` is ASCII and cut to fit."""
    payload = code.to_bytes(2, "big") + reason.encode("ascii", "replace")[: MAX_CONTROL - 2]
    return _written(_FINAL | _CLOSE, len(payload), 0) + payload


def _written(first: int, length: int, masked: int) -> bytes:
    if length <= MAX_CONTROL:
        return bytes((first, masked | length))
    if length <= 0xFFFF:
        return bytes((first, masked | 126)) + length.to_bytes(2, "big")
    return bytes((first, masked | 127)) + length.to_bytes(8, "big")


def _xor(data: bytes, mask: bytes) -> bytes:
    """Section 5.3, for all octets at once."""
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "little") ^ int.from_bytes(repeated, "little")).to_bytes(size, "little")
