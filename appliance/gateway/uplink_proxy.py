"""The way out through a proxy: `CONNECT` to the literal address that was judged.

It is the uplink's (mode `upstream`), or the fallback's Squid as a second judge of addresses (mode `chained`).
The proxy is told no name, so it has nothing to look up and the address stays the one that was judged and
pinned (attack G9). Whom the connection ends at is proved by TLS, end to end; without TLS the proxy is as
trusted as any router on the way. Plain HTTP goes through a tunnel as well: a proxy that reads a request by
address alone would have to be sent a Host that is not its target's.

The proxy's answer is read as strictly as a server's: one head, in time, nothing behind it. No byte of ours
goes to it before that.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from appliance.addresses import classify
from appliance.gateway import refusals
from appliance.gateway.dial import DialFailed, Direct, Way, connected, install
from appliance.gateway.limits import Limits
from appliance.http1.framing import BodyKind
from appliance.http1.limits import HeadLimits
from appliance.http1.refused import NeedMore, UpstreamInvalid
from appliance.http1.response import ResponseHead, parse_response_head
from appliance.processes import CHAINED_PORT
from appliance.refusal import Refusal
from appliance.settings import Uplink

ANSWER_LIMITS = HeadLimits(head=8 * 1024, header_count=50)

# What a proxy says of the address that it was asked for (RFC 9110 section 15.6); the next one may be better.
_ADDRESS_FAILED = {
    502: refusals.UNREACHABLE,
    503: refusals.UNREACHABLE,
    504: refusals.CONNECT_TIMEOUT,
}


SQUID = (IPv4Address("127.0.0.1"), CHAINED_PORT)


def way_of(uplink: Uplink) -> Callable[[Any, Limits], Way]:
    """How the settings want connections made; to be called with the reactor."""
    if uplink.proxy is not None:
        proxy = (uplink.proxy.address, uplink.proxy.port)
        return lambda connector, limits: ThroughProxy(connector, limits, proxy)
    return Chained if uplink.chained else Direct


class ThroughProxy:
    """A `Way` (see `appliance.gateway.dial`) by the proxy at an address and port.

    `connector` is the reactor, its clock included.
    """

    def __init__(self, connector: Any, limits: Limits, proxy: tuple[IPv4Address, int]) -> None:
        self._connector: IReactorTCP = connector
        self._clock: IReactorTime = connector
        self._proxy = proxy
        self._seconds = limits.connect_seconds

    async def open(self, address: IPv4Address, port: int) -> Any:
        """See `Way`."""
        if address == self._proxy[0]:
            # A tenant that spoke to the proxy itself could ask it for anything.
            raise DialFailed(refusals.UPLINK_PROXY_ADDRESS)
        try:
            transport = await connected(self._connector, *self._proxy, self._seconds)
        except ConnectTimeout as error:
            raise DialFailed(refusals.UPLINK_PROXY_TIMEOUT) from error
        except ConnectError as error:
            raise DialFailed(refusals.UPLINK_PROXY_UNREACHABLE) from error
        asking = Asking(address, port)
        late = self._clock.callLater(self._seconds, asking.refuse, refusals.UPLINK_PROXY_TIMEOUT)
        try:
            install(transport, asking)
            await asking.answered
        finally:
            if late.active():
                late.cancel()
        return transport


class Chained:
    """A `Way` by Squid, and by ourselves to what an operator excepted: Squid opens public addresses only.

    Squid closes its ports for some 50 ms when it reads new rules, so where nobody listens it is tried again.
    """

    PAUSES = (0.05, 0.1, 0.2, 0.4)

    def __init__(self, connector: Any, limits: Limits) -> None:
        self._clock: IReactorTime = connector
        self._squid = ThroughProxy(connector, limits, SQUID)
        self._direct = Direct(connector, limits)

    async def open(self, address: IPv4Address, port: int) -> Any:
        """See `Way`."""
        if not classify(address).is_public:
            return await self._direct.open(address, port)
        for pause in self.PAUSES:
            try:
                return await self._squid.open(address, port)
            except DialFailed as failed:
                if failed.refusal is not refusals.UPLINK_PROXY_UNREACHABLE:
                    raise
            await deferLater(self._clock, pause)
        return await self._squid.open(address, port)


class Asking(TwistedProtocol):
    """One `CONNECT`; `answered` fires when the tunnel stands, or fails with `DialFailed`.

    Its connection is of use only then; until then, and when the wait is cancelled, it is ended here.
    """

    transport: Any

    def __init__(self, address: IPv4Address, port: int) -> None:
        self._authority = f"{address}:{port}".encode("ascii")
        self._buffer = b""
        self._searched = 0
        self.answered: Deferred[None] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        """RFC 9110 section 9.3.6: the target is host and port of the destination, and nothing else."""
        self.transport.write(
            b"CONNECT " + self._authority + b" HTTP/1.1\r\nHost: " + self._authority + b"\r\n\r\n"
        )

    def dataReceived(self, data: bytes) -> None:
        """Part of the answer."""
        if self.answered.called:
            return
        self._buffer += data
        try:
            head = parse_response_head(self._buffer, "CONNECT", ANSWER_LIMITS, searched=self._searched)
        except UpstreamInvalid as fault:
            self.refuse(refusals.uplink_proxy_invalid(fault.detail))
            return
        if isinstance(head, NeedMore):
            self._searched = head.searched
            return
        self._judge(head)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It hung up instead of answering."""
        del reason
        self.refuse(refusals.uplink_proxy_invalid("it closed the connection before it had answered"))

    def refuse(self, refusal: Refusal, *, final: bool = True) -> None:
        """No tunnel; also called when the time is up."""
        if not self.answered.called:
            self.transport.abortConnection()
            self.answered.errback(DialFailed(refusal, final=final))

    def _judge(self, head: ResponseHead) -> None:
        if head.status in _ADDRESS_FAILED:
            self.refuse(_ADDRESS_FAILED[head.status], final=False)
        # RFC 9110 section 9.3.6: any 2xx opens the tunnel. Stricter: the one that every proxy sends.
        elif head.status != 200:
            self.refuse(refusals.uplink_proxy_refused(head.status))
        # It has the client ignore a length or a coding in a success. Stricter: who sends one means a body.
        elif head.framing.kind is BodyKind.CHUNKED or head.framing.length:
            self.refuse(refusals.uplink_proxy_invalid("it announced a body where the tunnel begins"))
        # In TLS and in HTTP the client speaks first: what comes before is the proxy's, or for another.
        elif len(self._buffer) > head.head_bytes:
            self.refuse(refusals.uplink_proxy_invalid("it sent bytes before it was sent any"))
        else:
            self.answered.callback(None)
