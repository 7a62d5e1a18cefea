"""Reading a body by its framing (RFC 9112 sections 6 and 7), in bytes as they arrive.

Memory is bounded: data passes through, and only an unfinished chunk-size or trailer line is kept. Chunk
extensions and trailer fields are read and dropped, so nobody behind us can read them differently.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

from appliance.http1 import grammar
from appliance.http1.framing import BodyKind, Framing
from appliance.http1.refused import Refused, UpstreamInvalid

MAX_CHUNK_LINE = 256  # bytes of one chunk-size line with its extension
MAX_TRAILERS = 8 * 1024  # bytes of all trailer lines together
# Bytes of extensions allowed over a whole body beyond what each chunk's data pays for (one for one).
EXTENSION_ALLOWANCE = 16 * 1024

LAST_CHUNK = b"0\r\n\r\n"


class BodyReader(Protocol):
    """What every reader offers. After `done`, `surplus` holds the bytes that belong to the next message."""

    done: bool
    surplus: bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes from the connection; return the body data among them, in order, without empty slices."""

    def end(self) -> None:
        """Take notice that the connection ended. Raises when the body had not."""


def body_reader(framing: Framing, blame: type[Refused | UpstreamInvalid] = Refused) -> BodyReader:
    """The reader for a framing; `blame` says whose fault a broken body is."""
    if framing.kind is BodyKind.CHUNKED:
        return ChunkedBody(blame)
    if framing.kind is BodyKind.UNTIL_CLOSE:
        return UntilCloseBody()
    return FixedBody(framing.length, blame)


def encode_chunk(data: bytes) -> bytes:
    """One chunk with `data`, which must not be empty: an empty chunk ends a body (see `LAST_CHUNK`)."""
    if not data:
        raise ValueError("an empty chunk would end the body")
    return b"%x\r\n%b\r\n" % (len(data), data)


def _fault(blame: type[Refused | UpstreamInvalid], reason: str, detail: str) -> Refused | UpstreamInvalid:
    return Refused(400, reason, detail) if issubclass(blame, Refused) else UpstreamInvalid(reason, detail)


class FixedBody:
    """A body of a known number of bytes (which may be none)."""

    def __init__(self, length: int, blame: type[Refused | UpstreamInvalid] = Refused) -> None:
        self._left = length
        self._blame = blame
        self.done = length == 0
        self.surplus = b""

    def feed(self, data: bytes) -> list[bytes]:
        """See `BodyReader`."""
        size = len(data)
        if size <= self._left:
            self._left -= size
            self.done = not self._left
            return [data] if data else []
        mine, self.surplus = data[: self._left], self.surplus + data[self._left :]
        self._left = 0
        self.done = True
        return [mine] if mine else []

    def end(self) -> None:
        """See `BodyReader`."""
        # RFC 9112 section 8: fewer bytes than announced is an incomplete message.
        if not self.done:
            raise _fault(self._blame, "body-incomplete", f"the body ended {self._left} bytes early")


class UntilCloseBody:
    """A response body that ends with its connection."""

    def __init__(self) -> None:
        self.done = False
        self.surplus = b""

    def feed(self, data: bytes) -> list[bytes]:
        """See `BodyReader`."""
        return [data] if data else []

    def end(self) -> None:
        """See `BodyReader`."""
        self.done = True


class _Expect(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()


class ChunkedBody:
    """A chunked body. A broken one stays broken: every later `feed` raises again."""

    def __init__(self, blame: type[Refused | UpstreamInvalid] = Refused) -> None:
        self._blame = blame
        self._expect = _Expect.SIZE
        self._left = 0
        self._line = b""
        self._extensions = EXTENSION_ALLOWANCE
        self._trailers = 0
        self._broken: Refused | UpstreamInvalid | None = None
        self.done = False
        self.surplus = b""

    def feed(self, data: bytes) -> list[bytes]:
        """See `BodyReader`. Raises the fault of `blame`."""
        if self._broken is not None:
            raise self._broken
        found: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self.done:
            if self._expect is _Expect.DATA:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                found.append(piece)
                if not self._left:
                    self._expect = _Expect.DATA_END
                continue
            line_end = data.find(b"\n", at)
            stop = size if line_end < 0 else line_end + 1
            self._line += data[at : min(stop, at + MAX_TRAILERS + 1)]
            at = stop
            if line_end >= 0:
                self._take_line()
                self._line = b""
            else:
                self._check_unfinished()
        if self.done:
            self.surplus += data[at:]
        return found

    def end(self) -> None:
        """See `BodyReader`. Raises the fault of `blame`."""
        if self._broken is not None:
            raise self._broken
        if not self.done:
            self._break("body-incomplete", "the body ended before its last chunk")

    def _break(self, reason: str, detail: str) -> None:
        self._broken = _fault(self._blame, reason, detail)
        raise self._broken

    def _take_line(self) -> None:
        line = self._line
        if self._expect is _Expect.SIZE:
            self._take_size(line)
        elif self._expect is _Expect.DATA_END:
            if line != b"\r\n":
                self._break("chunk-end-missing", "chunk data is not followed by CRLF")
            self._expect = _Expect.SIZE
        else:
            self._take_trailer(line)

    def _take_size(self, line: bytes) -> None:
        match = grammar.chunk_line(line) if len(line) <= MAX_CHUNK_LINE else None
        if match is None:
            self._break("chunk-size-invalid", "a chunk begins with its size in hexadecimal digits and CRLF")
            return
        self._left = int(match.group(1), 16)
        self._extensions += min(self._left, MAX_CHUNK_LINE) - (len(line) - len(match.group(1)) - 2)
        # RFC 9112 section 7.1.1: a recipient ought to limit the total length of chunk extensions.
        if self._extensions < 0:
            self._break("chunk-extensions", "more chunk extensions than data")
        self._expect = _Expect.DATA if self._left else _Expect.TRAILER

    def _take_trailer(self, line: bytes) -> None:
        if line == b"\r\n":
            self.done = True
            return
        self._trailers += len(line)
        if self._trailers > MAX_TRAILERS:
            self._break("trailers-too-large", f"trailers are over {MAX_TRAILERS} bytes")
        if grammar.trailer_line(line) is None:
            self._break("trailer-invalid", "a trailer line that is no field")
        # RFC 9110 section 6.5.1: framing and routing never stand in trailers; who merges them is led astray.
        if line.partition(b":")[0].lower() in {b"content-length", b"transfer-encoding", b"host"}:
            self._break("trailer-forbidden", "a framing field or Host among the trailers")

    def _check_unfinished(self) -> None:
        """Refuse an unfinished line that can become nothing any more."""
        if self._expect is _Expect.SIZE and len(self._line) > MAX_CHUNK_LINE:
            self._break("chunk-size-invalid", "a chunk begins with its size in hexadecimal digits and CRLF")
        if self._expect is _Expect.DATA_END and self._line != b"\r":
            self._break("chunk-end-missing", "chunk data is not followed by CRLF")
        if self._expect is _Expect.TRAILER and self._trailers + len(self._line) > MAX_TRAILERS:
            self._break("trailers-too-large", f"trailers are over {MAX_TRAILERS} bytes")
