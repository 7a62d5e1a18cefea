"""The bytes of one exchange, both ways: decoded, counted against the caps, encoded anew, back-pressured.

Each side is read only as fast as the other takes it: the transport that is written to pauses and resumes the
one that is read from (Twisted's push producers), so at most one transport buffer each way is held. The
container's transport tells the session, which outlives the exchange; the server's tells a `Tap`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance.gateway import refusals
from appliance.http1.body import LAST_CHUNK, body_reader, encode_chunk
from appliance.http1.framing import NO_BODY, BodyKind
from appliance.http1.refused import Refused
from appliance.http1.response import ResponseHead
from appliance.http1.writer import relayed_framing, serialise_response_head
from appliance.outgoing.tap import Tap
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from appliance.gateway.exchange import Exchange
    from appliance.outgoing.upstream import Upstream

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Cut(Exception):
    """The exchange must end here."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Relay:
    """Between the container's transport and an upstream connection, for one exchange.

    `sending` while the request's body is not complete. `max_request` and `max_response` are body bytes.
    """

    __slots__ = (
        "_exchange", "_framing", "_received", "_response_paused", "_sent", "_transport", "body",
        "max_request", "max_response", "upstream",
    )  # fmt: skip

    def __init__(
        self, exchange: Exchange, transport: Any, upstream: Upstream, max_request: int, max_response: int
    ) -> None:
        self._exchange = exchange
        self._transport = transport
        self.upstream = upstream
        self.max_request = max_request
        self.max_response = max_response
        self.body = body_reader(exchange.head.framing) if exchange.has_body else None
        self._framing = NO_BODY
        self._sent = 0
        self._received = 0
        self._response_paused = False

    @property
    def sending(self) -> bool:
        """Whether more of the request is to come."""
        return self.body is not None

    def lower_caps(self, max_request: int, max_response: int) -> None:
        """Bounds of a newer policy: of two the lower holds, also for what has passed already."""
        self.max_request = min(self.max_request, max_request)
        self.max_response = min(self.max_response, max_response)

    def start_body(self) -> None:
        """The head is written: let the body come, as fast as the server takes it."""
        self.upstream.transport.registerProducer(Tap(self._transport), True)
        if self._exchange.head.expect_continue:
            # RFC 9110 section 10.1.1: said by us, once the request is allowed and the server is there.
            self._transport.write(CONTINUE)

    def request_data(self, data: bytes) -> bytes | None:
        """Body bytes of the container. The bytes behind its end, or None when it is not at its end.

        Raises `Cut`.
        """
        body = self.body
        assert body is not None
        try:
            pieces = body.feed(data)
        except Refused as fault:
            raise Cut(refusals.malformed(fault)) from fault
        self._sent += sum(map(len, pieces))
        if self._sent > self.max_request:
            raise Cut(refusals.body_too_large(self.max_request, self._exchange.rule))
        if self._exchange.head.framing.kind is BodyKind.CHUNKED:
            pieces = [encode_chunk(piece) for piece in pieces]
            if body.done:
                pieces.append(LAST_CHUNK)
        wire = b"".join(pieces)
        exceeded = self._exchange.charge_upstream(len(wire))
        if exceeded is not None:
            raise Cut(refusals.exceeded(exceeded))
        self.upstream.write(wire)
        if not body.done:
            return None
        self._end_body()
        return body.surplus

    def response_data(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> bytes:
        """What to write to the container for more of the answer. Raises `Cut`."""
        exchange = self._exchange
        parts: list[bytes] = []
        if head is not None:
            self._framing = relayed_framing(head, to_http_11=exchange.head.http_11)
            if head.framing.length > self.max_response:
                raise Cut(refusals.RESPONSE_TOO_LARGE)
            if self.body is not None or self._framing.kind is BodyKind.UNTIL_CLOSE:
                # An answer before the end of the request: what is left of it has no use and no end.
                exchange.keep_alive = False
            parts.append(serialise_response_head(head, keep_alive=exchange.keep_alive, framing=self._framing))
        if pieces:
            self._received += sum(map(len, pieces))
            if self._received > self.max_response:
                raise Cut(refusals.RESPONSE_TOO_LARGE)
        if self._framing.kind is BodyKind.CHUNKED:
            parts += [encode_chunk(piece) for piece in pieces]
            if done:
                parts.append(LAST_CHUNK)
        else:
            parts += pieces
        wire = b"".join(parts)
        exceeded = exchange.charge_client(len(wire))
        if exceeded is not None:
            raise Cut(refusals.exceeded(exceeded))
        if head is not None:
            exchange.status = head.status
        return wire

    def pause_response(self) -> None:
        """The container does not take more of the answer."""
        self._response_paused = True
        self.upstream.transport.pauseProducing()

    def resume_response(self) -> None:
        """The container has taken what there was."""
        if self._response_paused:
            self._response_paused = False
            self.upstream.transport.resumeProducing()

    def release(self) -> None:
        """Neither side slows the other any more."""
        self.resume_response()
        self._end_body()

    def _end_body(self) -> None:
        if self.body is not None:
            self.body = None
            self.upstream.transport.unregisterProducer()
            self._transport.resumeProducing()
