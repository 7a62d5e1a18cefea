"""One HTTP/1.1 connection to an origin server: carries one exchange at a time, then waits to be used again.

The server is trusted no more than the client: a byte that nobody asked for ends the connection, so that no
answer can ever be taken for the answer to another request (response queue poisoning).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from zope.interface import implementer

from appliance.http1.body import BodyReader, body_reader
from appliance.http1.framing import UNTIL_CLOSE
from appliance.http1.limits import DEFAULT_LIMITS
from appliance.http1.refused import NeedMore, ProtocolFault, UpstreamInvalid
from appliance.http1.response import ResponseHead, parse_response_head
from appliance.outgoing.deadlines import NEVER

_LOOK = int(socket.MSG_PEEK | socket.MSG_DONTWAIT)  # an enum's `|` takes longer than the call

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.outgoing.pool import Key


class Downstream(Protocol):
    """Who asked: the session whose exchange this connection carries."""

    def response(self, head: ResponseHead | None, pieces: list[bytes], *, done: bool) -> None:
        """More of the answer: the head comes first and once, then body data."""

    def response_broken(self, fault: ProtocolFault) -> None:
        """The answer cannot be passed on; the connection is gone."""

    def response_failed(self) -> None:
        """A mistake of ours; the connection is gone. Called while the exception is being handled."""

    def response_missing(self) -> None:
        """The connection ended before the answer did; it is gone."""


@implementer(IHandshakeListener)
class Upstream(TwistedProtocol):
    """See the module. `reused` counts the exchanges before the present one; `lost`: gone, or ended by us.

    `delivering` while TLS gives out what has come: behind the answer that is just heard there may be more, of
    which neither the kernel nor OpenSSL can be asked. So long nobody may have the connection.
    """

    transport: Any

    def __init__(self, key: Key, address: IPv4Address | None, idle: Callable[[Upstream], None]) -> None:
        self.key = key
        self.address = address
        self.reused = 0
        self.lost = False
        self.delivering = False
        self.deadline = NEVER
        self.secured: Deferred[None] | None = Deferred(lambda _: self.abort()) if key.secure else None
        self._idle = idle
        self._closed: Callable[[Upstream], None] | None = None
        self._downstream: Downstream | None = None
        self._method = ""
        self._upgrade = False
        self._buffer = b""
        self._interim = 0
        self._searched = 0
        self._keep_alive = False
        self._reader: BodyReader | None = None

    def watch(self, closed: Callable[[Upstream], None]) -> None:
        """Call `closed` when the connection is gone."""
        self._closed = closed

    def handshakeCompleted(self) -> None:
        """TLS is up."""
        secured = self.secured
        if secured is not None and not secured.called and not self.transport.disconnecting:
            secured.callback(None)

    @property
    def quiet(self) -> bool:
        """Whether nothing came that has not been read yet.

        While the connection rests that is the answer to no request, or its end: it must not come to be taken
        for the answer to the next one.
        """
        tcp = self.transport
        if self.key.secure:
            if not tcp.records.whole:
                return False
            tcp = tcp.transport
        if self.lost or tcp.disconnecting:
            return False
        try:
            tcp.getHandle().recv(1, _LOOK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def send(self, downstream: Downstream, method: str, head: bytes, *, upgrade: bool = False) -> None:
        """Begin an exchange with a serialised request head; a body may follow with `write`.

        With `upgrade` the head asks for another protocol, and a 101 is an answer. What follows it is given
        to whoever hears the answer as it comes, until the connection ends.
        """
        self._downstream = downstream
        self._upgrade = upgrade
        self._method = method
        self._interim = 0
        self.deadline = NEVER
        self.transport.write(head)

    def answers_to(self, downstream: Downstream) -> None:
        """Somebody else hears the rest of the answer."""
        self._downstream = downstream

    def write(self, data: bytes) -> None:
        """More of the request."""
        self.transport.write(data)

    def abort(self) -> None:
        """End the connection; whoever used it hears nothing more."""
        self._downstream = None
        if not self.lost:
            self.lost = True
            self.transport.abortConnection()

    def deadline_passed(self) -> None:
        """The handshake took too long, or nobody needed the connection for a while."""
        if self.secured is not None and not self.secured.called:
            self.secured.errback(ConnectTimeout())  # type: ignore[no-untyped-call]  # Twisted
        self.abort()

    def dataReceived(self, data: bytes) -> None:
        """Part of the answer."""
        downstream = self._downstream
        if downstream is None:
            self.abort()
            return
        try:
            if self._reader is None:
                self._read_head(downstream, data)
            else:
                pieces = self._reader.feed(data)
                self._deliver(downstream, None, pieces)
        except UpstreamInvalid as fault:
            self.abort()
            downstream.response_broken(fault)
        except Exception:  # noqa: BLE001 - no await below; a bug of ours shuts both sides
            self.abort()
            downstream.response_failed()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Ends a body that lasts until close; cuts off anything else."""
        self.lost = True
        if self.secured is not None and not self.secured.called:
            self.secured.errback(reason)
        if self._closed is not None:
            self._closed(self)
        downstream, self._downstream = self._downstream, None
        reader, self._reader = self._reader, None
        if downstream is None:
            return
        if reader is not None and isinstance(reason.value, ConnectionDone):
            try:
                reader.end()
            except UpstreamInvalid as fault:
                downstream.response_broken(fault)
                return
            downstream.response(None, [], done=True)
            return
        downstream.response_missing()

    def _read_head(self, downstream: Downstream, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        while True:
            head = parse_response_head(
                buffer,
                self._method,
                DEFAULT_LIMITS,
                searched=self._searched,
                interim_seen=self._interim,
                upgrade_requested=self._upgrade,
            )
            if isinstance(head, NeedMore):
                self._buffer, self._searched = buffer, head.searched
                return
            self._searched = 0
            buffer = buffer[head.head_bytes :]
            if not head.interim:
                break
            # RFC 9110 section 15.2: a proxy may leave 1xx out; 100 is answered by the gateway itself.
            self._interim += 1
            if not buffer:
                self._buffer = b""
                return
        self._buffer = b""
        self._keep_alive = head.keep_alive
        framing = UNTIL_CLOSE if head.switching else head.framing
        self._reader = reader = body_reader(framing, UpstreamInvalid)
        pieces = reader.feed(buffer) if buffer else []
        self._deliver(downstream, head, pieces)

    def _deliver(self, downstream: Downstream, head: ResponseHead | None, pieces: list[bytes]) -> None:
        reader = self._reader
        assert reader is not None
        if not reader.done:
            if pieces or head is not None:
                downstream.response(head, pieces, done=False)
            return
        self._downstream = self._reader = None
        self._keep_alive = reusable = self._keep_alive and not reader.surplus
        # This connection may be resting when `response` returns, and be in use again where there is no TLS.
        self.delivering = self.key.secure
        downstream.response(head, pieces, done=True)
        self.delivering = False
        if not reusable:
            self.abort()

    def rest(self) -> None:
        """Both directions of the exchange are done: wait for the next one, if the server agreed to that."""
        if self._keep_alive and not self.lost:
            self.reused += 1
            self._idle(self)
