"""Bodies in a content coding (RFC 9110 section 8.4): decoded, so that they can be looked into.

What goes on is not coded again: whoever passes it on takes Content-Encoding away (`headers.answer_fields`). A
coding that is not known, a third one, data that is damaged or breaks off, and a body that grows without
measure end the stream: nothing is passed on that has not been decoded. Decoding gives pieces of bounded size,
as soon as the coder at the other end has flushed them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import brotli
import zstandard

from appliance.broker.scrub.faults import ScrubFault

MOST_CODINGS = 2
FREE_EXPANSION = 32 << 20
"""Octets that any body may decode to; beyond them `MOST_RATIO` for each octet that has come."""
MOST_RATIO = 200
_PIECE = 256 << 10
# A block that repeats one octet has 4 octets and gives 128 KiB (RFC 8878 section 3.1.1.2): so few at a time.
_ZSTD_PIECE = 256
# RFC 9659: no more than 8 MiB of window for the content coding.
_ZSTD_WINDOW = 8 << 20


class Decoder(Protocol):
    """One coding taken off."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What these octets give, in bounded pieces. Raises `ScrubFault`."""

    def finish(self) -> None:
        """Nothing follows. Raises `ScrubFault` when the coded data is not whole."""


class _Deflate:
    """gzip (RFC 1952, also several members) and deflate (RFC 1950; as often sent, RFC 1951 bare)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._coded = zlib.decompressobj(31) if gzip else None
        self._begun = b""
        self._any = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._any = self._any or bool(data)
        if self._coded is None:
            self._begun += data
            if len(self._begun) < 2:
                return
            data, self._begun = self._begun, b""
            framed = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._coded = zlib.decompressobj(15 if framed else -15)
        while data:
            if self._coded.eof:
                if not self._gzip:
                    raise _damaged()
                self._coded = zlib.decompressobj(31)
            try:
                piece = self._coded.decompress(data, _PIECE)
            except zlib.error:
                raise _damaged() from None
            data = self._coded.unused_data if self._coded.eof else self._coded.unconsumed_tail
            yield piece
        while not self._coded.eof and (piece := self._rest()):
            yield piece

    def _rest(self) -> bytes:
        """What is left of output when all input has been taken."""
        assert self._coded
        try:
            return self._coded.decompress(b"", _PIECE)
        except zlib.error:
            raise _damaged() from None

    def finish(self) -> None:
        if self._any and not (self._coded and self._coded.eof):
            raise _damaged()


class _Brotli:
    """br (RFC 7932); its window is at most 16 MiB."""

    def __init__(self) -> None:
        self._coded = brotli.Decompressor()
        self._any = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._any = self._any or bool(data)
        try:
            while data or not self._coded.can_accept_more_data():
                yield self._coded.process(data, output_buffer_limit=_PIECE)
                data = b""
        except brotli.error:
            raise _damaged() from None

    def finish(self) -> None:
        if self._any and not self._coded.is_finished():
            raise _damaged()


class _Zstandard:
    """zstd (RFC 8878), also several frames."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._coded = self._decompressor.decompressobj()
        self._any = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._any = self._any or bool(data)
        for at in range(0, len(data), _ZSTD_PIECE):
            part = data[at : at + _ZSTD_PIECE]
            while part:
                if self._coded.eof:
                    self._coded = self._decompressor.decompressobj()
                try:
                    piece = self._coded.decompress(part)
                except zstandard.ZstdError:
                    raise _damaged() from None
                part = self._coded.unused_data if self._coded.eof else b""
                yield piece

    def finish(self) -> None:
        if self._any and not self._coded.eof:
            raise _damaged()


class Decoding:
    """All codings of a body taken off, the last that was applied first. `coded`: whether it has any."""

    def __init__(self, content_encoding: Iterable[bytes]) -> None:
        """`content_encoding`: the values of all fields of that name. Raises `ScrubFault`."""
        self._decoders = decoders(content_encoding)
        self.coded = bool(self._decoders)
        self._taken = self._given = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What these octets give, in bounded pieces. Raises `ScrubFault`."""
        self._taken += len(data)
        for piece in _through(self._decoders, data):
            self._given += len(piece)
            if self._decoders and self._given > FREE_EXPANSION + MOST_RATIO * self._taken:
                raise ScrubFault("content-expands-too-far", "the body decodes to far more than was sent")
            yield piece

    def finish(self) -> None:
        """Nothing follows. Raises `ScrubFault` when the coded data is not whole."""
        for decoder in self._decoders:
            decoder.finish()


def decoders(content_encoding: Iterable[bytes]) -> tuple[Decoder, ...]:
    """The decoders of Content-Encoding, in the order in which they are applied. Raises `ScrubFault`."""
    members = [member.strip(b" \t").lower() for value in content_encoding for member in value.split(b",")]
    codings = [member for member in members if member not in (b"", b"identity")]
    if len(codings) > MOST_CODINGS:
        raise ScrubFault("content-codings-too-many", f"the body is coded more than {MOST_CODINGS} times")
    return tuple(_decoder(coding) for coding in reversed(codings))


def _decoder(coding: bytes) -> Decoder:
    match coding:
        case b"gzip" | b"x-gzip":
            return _Deflate(gzip=True)
        case b"deflate":
            return _Deflate(gzip=False)
        case b"br":
            return _Brotli()
        case b"zstd":
            return _Zstandard()
        case _:
            raise ScrubFault("content-coding-unknown", "the body is in a content coding that is not known")


def _through(steps: Sequence[Decoder], data: bytes) -> Iterator[bytes]:
    if not steps:
        yield data
        return
    for piece in steps[0].decode(data):
        yield from _through(steps[1:], piece)


def _damaged() -> ScrubFault:
    return ScrubFault("content-coding-damaged", "the coded body breaks off or is not what its coding says")
