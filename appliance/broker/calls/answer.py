"""A provider's answer on its way back: searched for secrets, framed anew, as fast as the worker takes it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from twisted.logger import Logger

from appliance.broker.calls import refusals
from appliance.broker.calls.authority import is_issued
from appliance.broker.scrub.faults import ScrubFault
from appliance.broker.scrub.websocket import ServerFrames
from appliance.http1.body import LAST_CHUNK, encode_chunk
from appliance.http1.fields import Headers, as_lines, travels_in_response
from appliance.http1.framing import CHUNKED, NO_BODY, BodyKind, Framing
from appliance.http1.refused import ProtocolFault
from appliance.http1.response import ResponseHead
from appliance.http1.writer import serialise_response_head
from appliance.outgoing.upstream import Upstream
from appliance.refusal import Refusal

BRIEF = 16 * 1024
"""Octets: an answer that announces no more goes on when it is whole, with its length announced again.

There are clients that lose an answer of unannounced length whose head and end they read at once.
"""
BATCH = 256 * 1024
"""Octets that are decoded before the worker is asked whether it takes more: 60 KB may stand for 40 MiB."""
REQUEST_ID = b"X-Egress-Request-Id"
"""In every answer, as in the records of gateway and broker; one that a provider wrote is not passed on."""

_REQUEST_ID = REQUEST_ID.lower()

_log = Logger()


class Stream(Protocol):
    """A body that is searched as it comes."""

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What may go on of what has come, in bounded pieces. Raises `ScrubFault`."""

    def whole(self, data: bytes) -> bytes:
        """What may go on of the last piece, uncoded, and the rest. Raises `ScrubFault`."""

    def end(self) -> bytes:
        """The rest. Raises `ScrubFault`."""


class Scrubbing(Protocol):
    """Knows the live secrets of one call."""

    def answer_fields(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Before a body from `body`: fields without secrets, and without what tells of its coding."""

    def fields(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Header fields where no body follows."""

    def octets(self, data: bytes) -> bytes:
        """What is there as a whole, without secrets."""

    def without_live(self, data: bytes) -> bytes:
        """What is there as a whole, without the live secrets; what only looks like one is still in it."""

    def body(self, fields: Iterable[tuple[bytes, bytes]]) -> Stream:
        """For the body behind these fields, which goes on without a content coding. Raises `ScrubFault`."""

    def websocket(self) -> ServerFrames:
        """For what a provider sends behind its 101."""


class Asker(Protocol):
    """Whose call it is. One of the last three is called, once, and nothing after it."""

    def answer_goes_on(self) -> None:
        """Something came."""

    def answered(self) -> None:
        """All of it is written."""

    def answer_failed(self, refusal: Refusal) -> None:
        """There is none, or no more of it."""

    def switched(self, head: ResponseHead, scrubbing: Scrubbing, received: list[bytes]) -> None:
        """It is a 101, behind which `received` came. Raises `UpstreamInvalid`, `ScrubFault`."""


class Answer:
    """Implements `outgoing.upstream.Downstream`.

    `begun` once an octet was written; `status` since the provider's head came. To the worker's connection it
    is a push producer: while that is full, no more is decoded, nor read.
    """

    def __init__(
        self,
        transport: Any,
        upstream: Upstream,
        scrubbing: Scrubbing,
        asker: Asker,
        request_id: str = "",
    ) -> None:
        self._transport = transport
        self._upstream = upstream
        self._scrubbing: Scrubbing | None = scrubbing
        self._asker = asker
        self._request_id = request_id.encode("ascii", "replace")
        self._stream: Stream | None = None
        self._unwritten: ResponseHead | None = None
        self._kept = bytearray()
        self._unsearched: deque[bytes] = deque()
        self._decoding: Iterator[bytes] | None = None
        self._coded = False
        self._last = False
        self._paused = False
        self._reading = False
        self.begun = False
        self.status: int | None = None

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """Pass on what came, searched."""
        try:
            if head is not None and head.switching:
                assert self._scrubbing is not None
                self._asker.switched(head, self._scrubbing, pieces)
                return
            if head is not None:
                self._unwritten = self._searched_head(head)
                self.status, self._reading = head.status, True
                self._transport.registerProducer(self, True)
            self._unsearched += pieces
            self._last = done
            self._go_on()
        except ScrubFault as fault:
            self._upstream.abort()
            self._fail(refusals.not_scrubbed(fault.code))

    def pauseProducing(self) -> None:
        """The worker's connection is full."""
        self._paused = True
        if not self._upstream.lost:
            self._upstream.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """It has room again."""
        self._paused = False
        try:
            self._go_on()
        except ScrubFault as fault:
            self._upstream.abort()
            self._fail(refusals.not_scrubbed(fault.code))
        except Exception:  # noqa: BLE001 - as in `Upstream.dataReceived`
            self._upstream.abort()
            self.response_failed()
        if self._reading and not self._paused and not self._upstream.lost:
            self._upstream.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The worker is gone: its connection tells the call."""

    def response_broken(self, fault: ProtocolFault) -> None:
        """What the provider said is no HTTP."""
        self._fail(refusals.upstream_protocol(fault))

    def response_failed(self) -> None:
        """A mistake of ours; no trace of it is written, for it may show what was read."""
        _log.error("an answer could not be passed on by a mistake of ours")
        self._fail(refusals.INTERNAL)

    def response_missing(self) -> None:
        """The provider hung up."""
        self._fail(refusals.UPSTREAM_CLOSED)

    def stop(self) -> None:
        """The worker slows the provider's connection no more: it may be used again.

        What knows the secrets, or holds the last octets unsearched, is let go at once: whoever asked and this
        one know each other, so that without it all would stay until Python looks for such circles.
        """
        self._scrubbing = self._stream = self._unwritten = None
        self._kept, self._decoding = bytearray(), None
        self._unsearched.clear()
        if self._reading:
            self._reading = False
            self._transport.unregisterProducer()
            if not self._upstream.lost:
                self._upstream.transport.resumeProducing()

    def _fail(self, refusal: Refusal) -> None:
        self.stop()
        self._asker.answer_failed(refusal)

    def _go_on(self) -> None:
        while self._reading and not (self._paused and self._coded):
            searched, done = self._search()
            wire = self._wire(searched, done=done)
            if wire:
                self.begun = True
                self._transport.write(wire)
            if done:
                self.stop()
                self._asker.answered()
            elif not self._unsearched and self._decoding is None and not self._last:
                self._asker.answer_goes_on()
                return

    def _search(self) -> tuple[list[bytes], bool]:
        """What may be written now, and whether that is the end."""
        stream, octets = self._stream, 0
        searched: list[bytes] = []
        if stream is None:
            self._unsearched.clear()
            return searched, self._last
        if self._last and not self._coded and len(self._unsearched) == 1 and self._decoding is None:
            return [stream.whole(self._unsearched.popleft())], True
        while octets < BATCH:
            piece = self._piece(stream)
            if piece is None:
                if self._last:
                    searched.append(stream.end())
                return searched, self._last
            searched.append(piece)
            octets += len(piece)
        return searched, False

    def _piece(self, stream: Stream) -> bytes | None:
        while self._decoding is not None or self._unsearched:
            if self._decoding is None:
                self._decoding = stream.pieces(self._unsearched.popleft())
            piece = next(self._decoding, None)
            if piece is not None:
                return piece
            self._decoding = None
        return None

    def _wire(self, searched: list[bytes], *, done: bool) -> bytes:
        stream, first = self._stream, self._unwritten
        if first is None:
            return _chunks(searched, done=done) if stream is not None else b""
        self._kept += b"".join(searched)
        length = len(self._kept)
        announced = first.framing.length if first.framing.kind is BodyKind.LENGTH else None
        if not done and announced is not None and announced <= BRIEF and length <= BRIEF:
            return b""
        kept, self._kept, self._unwritten = bytes(self._kept), bytearray(), None
        if stream is None:
            return serialise_response_head(first, keep_alive=True, framing=NO_BODY)
        if done:
            whole = Framing(BodyKind.LENGTH, length)
            return serialise_response_head(first, keep_alive=True, framing=whole) + kept
        return serialise_response_head(first, keep_alive=True, framing=CHUNKED) + _chunks([kept], done=False)

    def _searched_head(self, head: ResponseHead) -> ResponseHead:
        has_body = head.framing.kind is not BodyKind.NONE
        came = travelling(head)
        scrubbing = self._scrubbing
        assert scrubbing is not None
        self._stream = scrubbing.body(came) if has_body else None
        self._coded = any(name.lower() == b"content-encoding" for name, _ in came)
        fields = scrubbing.answer_fields(came) if has_body else scrubbing.fields(came)
        if self._request_id:
            fields.append((REQUEST_ID, self._request_id))
        lines = as_lines(fields)
        length = head.field(b"content-length")
        if not has_body and length is not None:  # of the body that a GET would have got
            fields += scrubbing.fields([(b"Content-Length", length)])
        return head._replace(headers=tuple(fields), passed_on=lines)


def travelling(head: ResponseHead) -> Headers:
    """The fields that go on, unsearched."""
    nominated = head.nominated
    return tuple(
        [
            field
            for field in head.headers
            if travels_in_response(name := field[0].lower())
            and name not in nominated
            and name != _REQUEST_ID
            and not is_issued(name)
        ]
    )


def _chunks(pieces: list[bytes], *, done: bool) -> bytes:
    chunks = [encode_chunk(piece) for piece in pieces if piece]
    if done:
        chunks.append(LAST_CHUNK)
    return b"".join(chunks)
