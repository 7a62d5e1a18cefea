"""The body of a call's request: sent on as it comes, or kept where all of it is needed before it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from appliance.broker.calls import refusals
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.keeping import MOST
from appliance.broker.credentials.inject import needs_body
from appliance.http1.body import LAST_CHUNK, encode_chunk
from appliance.http1.framing import BodyKind
from appliance.outgoing.tap import Tap
from appliance.policy.rules import media_type

if TYPE_CHECKING:
    from appliance.broker.calls.keeping import Keeping
    from appliance.http1.head import RequestHead
    from appliance.outgoing.upstream import Upstream
    from appliance.policy.bound import CompiledGroup
    from appliance.policy.verdict import Verdict
    from appliance.refusal import Refusal

FORM = "application/x-www-form-urlencoded"
MAX_FORM_PARTS = 20_000
"""Its keys are looked at, by the one thread that serves everybody."""


class RequestBody:
    """`transport` is the worker's. `done` once all of it has come; `verdict` bounds it since it is known."""

    def __init__(self, head: RequestHead, tenant: str, keeping: Keeping, transport: Any) -> None:
        self._head = head
        self._tenant = tenant
        self._keeping = keeping
        self._transport = transport
        self._upstream: Upstream | None = None
        self._kept = bytearray()
        self._gathered = 0
        self._promised = 0
        self._whole: Deferred[None] | None = None
        self._feeding = False
        self.verdict: Verdict | None = None
        self.is_form = media_type(head.content_type) == FORM
        self.done = head.framing.kind is not BodyKind.CHUNKED and not head.framing.length

    def arrived(self, pieces: list[bytes], *, done: bool) -> None:
        """More of it: to the provider, or kept until it is asked for. Raises `CallRefused`."""
        self.done = done
        self._gathered += sum(map(len, pieces))
        verdict = self.verdict
        if verdict is not None and self._gathered > verdict.max_body:
            raise CallRefused(refusals.body_too_large(verdict.max_body, verdict.rule))
        if self._upstream is not None:
            self._write(self._upstream, pieces)
        else:
            self._kept += b"".join(pieces)
            if self._whole is None:
                self._transport.pauseProducing()
            elif not self._keep(self._gathered):
                raise CallRefused(self._no_room())
        if done and self._whole is not None and not self._whole.called:
            self._whole.callback(None)

    async def if_needed(self, group: CompiledGroup) -> bytes | None:
        """All of it, where a schema or a signature is over it; None: it is streamed. Raises `CallRefused`."""
        if group.body is None and not needs_body(group.slot, str(self._head.host)) and not self.is_form:
            return b"" if self.done and not self._kept else None
        if not self.done:
            if not self._keep(max(self._gathered, self._head.content_length or 0)):
                raise CallRefused(self._no_room())
            self._whole = Deferred()
            self._transport.resumeProducing()
            await self._whole
        body, self._kept = bytes(self._kept), bytearray()
        if self.is_form and (body.count(b"&") > MAX_FORM_PARTS or self._is_coded()):
            raise CallRefused(refusals.FORM_UNREAD)
        return body

    def send(self, upstream: Upstream, whole: bytes | None) -> None:
        """The head is written: what `if_needed` gave, or what has come and what comes."""
        self._upstream = upstream
        if whole is not None:
            self._write(upstream, [whole] if whole else [])
            return
        kept, self._kept = bytes(self._kept), bytearray()
        upstream.transport.registerProducer(Tap(self._transport), True)
        self._feeding = True
        self._write(upstream, [kept])
        self._transport.resumeProducing()

    def let_go(self) -> None:
        """The call is over. Once."""
        self._kept = bytearray()
        self._keeping.give_back(self._tenant, self._promised)
        self._stop_feeding()

    def _write(self, upstream: Upstream, pieces: list[bytes]) -> None:
        if self._head.framing.kind is BodyKind.CHUNKED:
            pieces = [encode_chunk(piece) for piece in pieces if piece]
            if self.done:
                pieces.append(LAST_CHUNK)
        wire = b"".join(pieces)
        if wire:
            upstream.write(wire)
        if self.done:
            self._stop_feeding()

    def _stop_feeding(self) -> None:
        if self._feeding and self._upstream is not None:
            self._feeding = False
            self._upstream.transport.unregisterProducer()

    def _keep(self, octets: int) -> bool:
        """Whether it may have so many octets in memory; promised until the call ends."""
        more = octets - self._promised
        if octets > MOST or (more > 0 and not self._keeping.take(self._tenant, more)):
            return False
        self._promised = max(octets, self._promised)
        return True

    def _no_room(self) -> Refusal:
        assert self.verdict is not None
        large = max(self._gathered, self._head.content_length or 0) > MOST
        return refusals.body_too_large(MOST, self.verdict.rule) if large else refusals.BODIES_TOO_LARGE

    def _is_coded(self) -> bool:
        return any(name.lower().replace(b"_", b"-") == b"content-encoding" for name, _ in self._head.headers)
