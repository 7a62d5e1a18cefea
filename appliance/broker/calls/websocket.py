"""A WebSocket that a call has opened, from the provider's 101 to its end: frames both ways, written anew.

Towards the container every frame passes the scrubber, which finds a secret wherever frames are cut; no
extension is agreed on, so nothing is compressed. Towards the provider frames are read as strictly as the
gateway has read them, and masked anew: the worker that wrote them reads hostile octets.

The gateway counts frames and octets against the tenant's limits, and ends what is idle or old. Here are the
same bounds once more, for one WebSocket; and before anything is passed on it is asked whether account and
container are still what they were. Where it is ended here, the container is told in a Close frame whose
reason is that of the record. Two records, with one `request_id`: when it is open, and when it has ended.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

from appliance.broker.calls import refusals
from appliance.broker.calls.answer import REQUEST_ID, travelling
from appliance.broker.scrub.faults import ScrubFault
from appliance.handover import HANDED_OVER_SECONDS
from appliance.http1.fields import Headers, as_lines
from appliance.http1.refused import ProtocolFault, Refused, UpstreamInvalid
from appliance.http1.response import ResponseHead
from appliance.outgoing.deadlines import NEVER
from appliance.outgoing.tap import Tap
from appliance.websocket.frames import Frames, close_frame

if TYPE_CHECKING:
    from appliance.broker.calls.answer import Scrubbing
    from appliance.broker.calls.connection import CallConnection
    from appliance.broker.scrub.websocket import ServerFrames
    from appliance.outgoing.deadlines import Deadlines
    from appliance.outgoing.upstream import Upstream
    from appliance.policy.limits import TenantLimits
    from appliance.refusal import Refusal
    from appliance.websocket.handshake import Handshake

OPENED = "A WebSocket was opened."
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
LOOK_SECONDS = 5.0
"""Between two looks at an account, a container and an age while nothing is said."""
CLOSING_SECONDS = 5.0
PIECE = 4096
"""Octets that are read before frames are counted: two octets may be a frame."""

# RFC 6455 section 7.4.1; 1014 is in IANA's registry: a gateway's server failed.
GOING_AWAY, PROTOCOL_ERROR, POLICY, TOO_BIG, INTERNAL_ERROR, BAD_GATEWAY = 1001, 1002, 1008, 1009, 1011, 1014

_log = Logger()


class Places:
    """How many may be open: each keeps two descriptors, and one of its worker's connections, for hours."""

    def __init__(self, of_tenant: int = 256, in_all: int = 768) -> None:
        self._of_tenant = of_tenant
        self._in_all = in_all
        self._taken: Counter[str] = Counter()

    def take(self, tenant: str) -> bool:
        """Whether there is one more, until it is left."""
        if self._taken[tenant] >= self._of_tenant or self._taken.total() >= self._in_all:
            return False
        self._taken[tenant] += 1
        return True

    def leave(self, tenant: str) -> None:
        """One that was taken."""
        self._taken[tenant] -= 1
        if not self._taken[tenant]:
            del self._taken[tenant]


class Opener(Protocol):
    """The call."""

    def objection(self) -> Refusal | None:
        """Why what was allowed is so no more."""

    @property
    def limits(self) -> TenantLimits:
        """The tenant's, in force now."""

    def websocket_ended(self, refusal: Refusal | None, detail: str) -> None:
        """Once: end the provider's connection too. Without a refusal all was in order; `detail` says how."""


def request_fields(fields: Headers, handshake: Handshake) -> Headers:
    """What goes to the provider: of the Sec-WebSocket fields those that were understood, and no extension."""
    return (*(field for field in fields if not _of_websocket(field[0])), *handshake.fields)


def switching(head: ResponseHead, handshake: Handshake, scrubbing: Scrubbing, request_id: bytes) -> bytes:
    """The 101 for the worker, after one that answers the handshake. Raises `ScrubFault`."""
    fields = scrubbing.fields(field for field in travelling(head) if not _of_websocket(field[0]))
    chosen = head.field(b"sec-websocket-protocol")
    if chosen is not None:  # one of those that were offered
        fields.append((b"Sec-WebSocket-Protocol", chosen))
    fields += [(b"Sec-WebSocket-Accept", handshake.accept), (REQUEST_ID, request_id)]
    return b"HTTP/1.1 101 Switching Protocols\r\n%b%b\r\n" % (UPGRADE, as_lines(fields))


class WebSocket:
    """Hears the provider (`outgoing.upstream.Downstream`) and, by `received`, the container."""

    def __init__(
        self,
        opener: Opener,
        connection: CallConnection,
        upstream: Upstream,
        to_container: ServerFrames,
        deadlines: Deadlines,
        *,
        max_sent: int,
    ) -> None:
        """`max_sent` is how many octets of payload the container may send."""
        self._opener = opener
        self._connection = connection
        self._transport: Any = connection.transport
        self._upstream = upstream
        self._to_container: ServerFrames | None = to_container
        self._to_provider = Frames(new_mask=partial(secrets.token_bytes, 4))
        self._deadlines = deadlines
        self._max_sent = max_sent
        self._opened = self._moved = deadlines.seconds()
        self._rate = Rate()
        self._close_code: int | None = None
        self._closed_by_provider = self._ended = False
        self.deadline = NEVER

    def open(self, answer: bytes, received: list[bytes]) -> None:
        """Write the worker's 101; `received` came from the provider behind its own."""
        self._deadlines.watch(self)
        self._transport.registerProducer(Tap(self._upstream.transport), True)
        self._upstream.transport.registerProducer(Tap(self._transport), True)
        self._upstream.answers_to(self)
        self._connection.switched(self.received)
        self._transport.write(answer)
        self.deadline = self._opened + LOOK_SECONDS
        try:
            self.response(None, received, done=False)
        except UpstreamInvalid as fault:
            self.response_broken(fault)

    # The container's side.

    def received(self, data: bytes) -> None:
        """Frames of the container."""
        frames = self._to_provider
        try:
            for piece in _pieces(data):
                if self._ended or self._over or not self._may_go_on():
                    return
                before = frames.count
                wire = frames.feed(piece)
                if frames.payload > self._max_sent:
                    self._end(refusals.body_too_large(self._max_sent, refusals.RULE), TOO_BIG)
                    return
                if self._counts(frames.count - before):
                    self._upstream.write(wire)
        except Refused as fault:
            self._end(
                refusals.denied(400, fault.reason, fault.detail, "Send well-formed frames."), PROTOCOL_ERROR
            )
        except Exception as error:  # noqa: BLE001 - no await above; a mistake of ours shuts both sides
            self._failed(error)

    def gone(self) -> None:
        """The worker hung up, or its connection was withdrawn."""
        if not self._ended:
            self._settle(None if self._to_provider.ended else refusals.ABANDONED)
        self._forgotten()

    def withdraw(self, refusal: Refusal) -> None:
        """What it is made with, or for whom, is gone."""
        self._end(refusal, POLICY)

    # The provider's side.

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """Frames of the provider, or its end. Raises `UpstreamInvalid`."""
        del head
        if done:
            self.response_missing()
            return
        try:
            for piece in _pieces(b"".join(pieces)):
                frames = self._to_container
                if frames is None or self._over or not self._may_go_on():
                    return
                before = frames.count
                wire = frames.feed(piece)
                if self._counts(frames.count - before) and wire:
                    self._transport.write(wire)
                if frames.ended:
                    self._closed_by_provider = True
                    self._close_code = self._close_code or frames.close_code
        except ScrubFault as fault:
            self._end(refusals.not_scrubbed(fault.code), INTERNAL_ERROR)

    def response_broken(self, fault: ProtocolFault) -> None:
        """The provider sent no frames."""
        self._end(refusals.upstream_protocol(fault), BAD_GATEWAY)

    def response_failed(self) -> None:
        """A mistake of ours; no trace of it is written, for it may show what was read."""
        self._failed(None)

    def response_missing(self) -> None:
        """The provider hung up, in good order when it has said so."""
        if self._closed_by_provider:
            self._finish()
        else:
            self._end(refusals.UPSTREAM_CLOSED, BAD_GATEWAY)

    # Time.

    def deadline_passed(self) -> None:
        """Look whether it may go on; or one that has ended is not let go."""
        now = self._deadlines.seconds()
        if self._ended:
            self._connection.abort()
            self._forgotten()
        elif self._over:
            self._finish()
        elif self._may_go_on():
            if now - self._opened >= self._opener.limits.tunnel_seconds:
                self._end(refusals.TUNNEL_TOO_OLD, GOING_AWAY)
            elif now - self._moved >= HANDED_OVER_SECONDS:
                self._end(refusals.TUNNEL_IDLE, GOING_AWAY)
            else:
                self.deadline = now + LOOK_SECONDS

    @property
    def _over(self) -> bool:
        """Whether both have said Close: only the connections are left to be closed, whatever still comes."""
        return self._to_provider.ended and self._closed_by_provider

    def _may_go_on(self) -> bool:
        refusal = self._opener.objection()
        if refusal is not None:
            self._end(refusal, POLICY)
        return refusal is None

    def _counts(self, frames: int) -> bool:
        """Whether so many frames more may go on. Each costs the same however small it is."""
        self._moved = now = self._deadlines.seconds()
        limit = self._opener.limits.frames_per_second
        if self._rate.over(frames, limit, now):
            self._end(refusals.frames_exceeded(limit), POLICY)
            return False
        return True

    # Endings.

    def _failed(self, error: Exception | None) -> None:
        kind = "unknown" if error is None else type(error).__name__
        _log.error("a WebSocket failed by a mistake of ours: {kind}", kind=kind)
        self._end(refusals.INTERNAL, INTERNAL_ERROR)

    def _finish(self) -> None:
        """Both are done with it."""
        if not self._ended:
            self._settle(None)
            self._close()

    def _end(self, refusal: Refusal, code: int) -> None:
        """End it for a reason, and tell the container: whole frames have gone to it, so one more can."""
        if self._ended:
            return
        told = b"" if self._closed_by_provider else close_frame(code, refusal.reason)
        self._settle(refusal)
        self._transport.write(told)
        self._close()

    def _settle(self, refusal: Refusal | None) -> None:
        self._ended = True
        code = self._to_provider.close_code or self._close_code
        self._to_container = None  # it knows the secrets
        said = f"The WebSocket ended with code {code}." if code else "The WebSocket ended without a code."
        self._opener.websocket_ended(refusal, said)

    def _close(self) -> None:
        """What was written arrives; what still comes is thrown away until the worker closes too."""
        self._transport.unregisterProducer()
        self._transport.resumeProducing()
        self._transport.loseWriteConnection()
        self.deadline = self._deadlines.seconds() + CLOSING_SECONDS

    def _forgotten(self) -> None:
        self.deadline = NEVER
        self._deadlines.forget(self)


class Rate:
    """How many frames in the second that has begun with the first of them."""

    def __init__(self) -> None:
        self._began = -1.0
        self._count = 0

    def over(self, count: int, limit: int, now: float) -> bool:
        """Whether with so many more there are more than `limit`."""
        if now - self._began >= 1.0:
            self._began, self._count = now, 0
        self._count += count
        return self._count > limit


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[at : at + PIECE] for at in range(0, len(data), PIECE))


def _of_websocket(name: bytes) -> bool:
    return name.lower().replace(b"_", b"-").startswith(b"sec-websocket-")
