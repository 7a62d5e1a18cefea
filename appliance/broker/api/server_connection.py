"""The broker's end of one HTTP/1.1 connection: one request at a time, strictly read, answered by one word.

The same for a workload inside TLS (`conversation`) and for a caller on the callers' socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from appliance.broker.api import refusals
from appliance.broker.api.routes import Route, route_of
from appliance.broker.calls.refusals import BODIES_TOO_LARGE, INTERNAL
from appliance.http1.body import BodyReader, body_reader
from appliance.http1.head import RequestHead, parse_request_head
from appliance.http1.limits import HeadLimits
from appliance.http1.refused import NeedMore, Refused
from appliance.outgoing.deadlines import NEVER
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from appliance.broker.calls.keeping import Keeping

LIMITS = HeadLimits(request_line=2 * 1024, head=16 * 1024, header_count=50)
REQUEST_SECONDS = 30.0
"""For a head and its body."""
IDLE_SECONDS = 120.0
MAX_WAITING = 16 * 1024
"""Octets that may come while a request is answered."""
MAX_REQUESTS = 1000
"""Of a connection: a bound for the answers that a client asks for and does not read."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_log = Logger()


class Timing(Protocol):
    """The connection below: it ends when its time is up."""

    deadline: float

    def wait(self, seconds: float) -> None:
        """End when so much time has passed without another word."""


class ServerConnection:
    """See the module. Subclasses implement `_answer`; `transport` is set when the connection is made.

    `name` begins the ids of its requests, `find_route` judges a head. `bodies` bounds what is in memory of
    the requests of `whose`: they are read before anybody has proved who it is.
    """

    transport: Any

    def __init__(
        self,
        connection: Timing,
        name: str,
        bodies: Keeping,
        whose: str,
        find_route: Callable[[RequestHead], Route | Refusal] = route_of,
    ) -> None:
        self._connection = connection
        self._name = name
        self._bodies = bodies
        self._whose = whose
        self._promised = 0
        self._find_route = find_route
        self._buffer = b""
        self._requests = 0
        self._head: RequestHead | None = None
        self._route: Route | None = None
        self._reader: BodyReader | None = None
        self._body = bytearray()
        self._running: Deferred[None] | None = None
        self._busy = self._closing = self._reading = False
        self.abandoned: Callable[[], None] | None = None
        """Called where the client goes before its answer is complete."""

    def _answer(self, head: RequestHead, body: bytes, route: Route) -> Deferred[None]:
        """One whole request. It ends by one word to us; it is cancelled when the client has gone."""
        raise NotImplementedError

    def dataReceived(self, data: bytes) -> None:
        """Octets of requests."""
        if self._closing:
            return
        self._buffer += data
        if not self._busy:
            self._read()
        elif len(self._buffer) > MAX_WAITING:
            self.abort()

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        del reason
        self._closing = True
        self._give_back()
        running, self._running = self._running, None
        abandoned, self.abandoned = self.abandoned, None
        if abandoned is not None:
            abandoned()
        elif running is not None:
            running.cancel()

    @property
    def request_id(self) -> str:
        """Of the request under way: the connection's name, and its number in it."""
        return f"{self._name}.{self._requests}"

    # How a request ends.

    def reply(self, wire: bytes) -> None:
        """A whole answer."""
        if not self._closing:
            self.transport.write(wire)
        self.finished(keep=True)

    def refuse(self, refusal: Refusal, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """A typed page."""
        keep = self._reader is None and not refusal.closes
        if not self._closing:
            self.transport.write(refusals.page(refusal, self.request_id, headers, close=not keep))
        self.finished(keep=keep)

    def finished(self, *, keep: bool) -> None:
        """The answer is written; see also `calls.connection.CallConnection`."""
        self.abandoned = self._running = None
        self._give_back()
        if self._closing:
            return
        self._busy = False
        self.transport.resumeProducing()
        if not keep or self._requests >= MAX_REQUESTS:
            self._closing = True
            self._connection.wait(REQUEST_SECONDS)
            self.transport.loseConnection()
            return
        self._connection.wait(IDLE_SECONDS)
        if self._buffer:
            self._read()

    def abort(self) -> None:
        """End at once: an answer that has begun is seen to be cut off."""
        self._closing = True
        self.transport.abortConnection()

    # A request's way in.

    def _has_room(self, octets: int) -> bool:
        if not self._bodies.take(self._whose, octets):
            return False
        self._promised = octets
        return True

    def _give_back(self, but: int = 0) -> None:
        surplus, self._promised = self._promised - but, but
        if surplus:
            self._bodies.give_back(self._whose, surplus)

    def _read(self) -> None:
        if self._reading:
            return  # called from below: the loop goes on by itself
        self._reading = True
        try:
            while self._buffer and not self._busy and not self._closing:
                if self._reader is not None:
                    self._read_body(self._reader)
                elif not self._read_head():
                    return
        finally:
            self._reading = False

    def _read_head(self) -> bool:
        """Whether there was a whole head."""
        try:
            head = parse_request_head(self._buffer, LIMITS)
        except Refused as fault:
            self.refuse(refusals.malformed(fault))
            return False
        if isinstance(head, NeedMore):
            return False
        self._requests += 1
        self._buffer = self._buffer[head.head_bytes :]
        reader = body_reader(head.framing)
        self._head, self._body = head, bytearray()
        self._reader = None if reader.done else reader
        found = self._find_route(head)
        if isinstance(found, Refusal):
            self.refuse(found)
            return True
        self._route = found
        if self._reader is not None and not self._has_room(head.content_length or found.max_body):
            self.refuse(BODIES_TOO_LARGE)
            return True
        if head.expect_continue:
            self.transport.write(_CONTINUE)
        if self._reader is None:
            self._begin()
        return True

    def _read_body(self, reader: BodyReader) -> None:
        assert self._route is not None
        data, self._buffer = self._buffer, b""
        try:
            self._body += b"".join(reader.feed(data))
        except Refused as fault:
            self.refuse(refusals.malformed(fault))
            return
        most = self._route.max_body
        if len(self._body) > most:
            self.refuse(refusals.body_too_large(most))
        elif reader.done:
            self._reader, self._buffer = None, reader.surplus
            self._begin()

    def _begin(self) -> None:
        head, route = self._head, self._route
        assert head is not None
        assert route is not None
        self._busy = True
        self._connection.deadline = NEVER
        body, self._body = bytes(self._body), bytearray()
        self._give_back(but=len(body))
        running = self._running = self._answer(head, body, route)
        running.addErrback(self._bug)

    def _bug(self, failure: Any) -> None:
        if failure.check(CancelledError):
            return
        _log.error("a request was not answered by a mistake of ours: {kind}", kind=failure.type.__name__)
        if self._busy:
            self.refuse(INTERNAL.closing())
