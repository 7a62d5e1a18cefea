"""Questions over UDP: who asked is interface *and* source, and the answer leaves from the asked address.

ip(7), IP_PKTINFO: `recvmsg` tells the index of the interface and the destination in the packet's header,
which under TPROXY may be any address; `sendmsg` with the same structure sets the source of the answer (the
launcher made the socket IP_TRANSPARENT) and the interface that it leaves by.
"""

from __future__ import annotations

import socket
import struct
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from appliance.resolver.answering import Answering, Asker
from appliance.resolver.message import MAX_QUESTION

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.endpoints import Endpoint, EndpointTable

IP_PKTINFO = 8  # linux/in.h; the socket module has it only from Python 3.14 on
PACKETS_PER_WAKEUP = 32
MAX_PENDING = 2048
MAX_PENDING_PER_TENANT = 512  # names that nobody answers may fill a tenant's part, and not the others'
MAX_PENDING_PER_ENDPOINT = 256
_PKTINFO = struct.Struct("=I4s4s")
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO.size)


@implementer(IReadDescriptor)
class UdpQuestions:
    """Reads questions from an inherited socket and answers them. Answers that cannot be sent are dropped."""

    log = Logger()

    def __init__(self, listening: socket.socket, endpoints: EndpointTable, answering: Answering) -> None:
        listening.setblocking(False)
        listening.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self._socket = listening
        self._endpoints = endpoints
        self._answering = answering
        self._pending: Counter[str] = Counter()
        self._of_tenant: Counter[str] = Counter()
        self._total = 0
        self._stop: Callable[[], None] = lambda: None

    def start(self, reactor: Any) -> None:
        """Begin to read."""
        reactor.addReader(self)
        self._stop = lambda: reactor.removeReader(self)

    def stop(self) -> None:
        """Stop reading and close the socket; answers under way are lost."""
        self._stop()
        self._socket.close()

    def fileno(self) -> int:
        """The socket's descriptor, -1 once closed."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """The name of this reader in the log."""
        return "dns-udp"

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave the socket up: nothing to tell anybody, a datagram socket has no peer."""
        del reason

    def doRead(self) -> None:
        """Read what has come, in a bounded batch so that control messages and timers get their turn."""
        for _ in range(PACKETS_PER_WAKEUP):
            try:
                wire, ancillary, flags, sender = self._socket.recvmsg(MAX_QUESTION + 1, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError as error:
                # An ICMP error that some earlier answer brought home; the next read goes on.
                self.log.debug("dns-udp: {error}", error=str(error))
                return
            self._received(wire, ancillary, flags, sender)

    def _received(
        self, wire: bytes, ancillary: list[tuple[int, int, bytes]], flags: int, sender: tuple[str, int]
    ) -> None:
        info = next(
            (data for level, kind, data in ancillary if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO)),
            None,
        )
        if info is None or len(info) != _PKTINFO.size or flags & socket.MSG_CTRUNC:
            self._answering.counts["dropped"] += 1
            return
        ifindex, _, destination = _PKTINFO.unpack(info)
        endpoint = self._endpoints.on_interface(IPv4Address(sender[0]), ifindex)
        # No endpoint: nobody of ours. Too many pending: the container does not wait for what it asked.
        if (
            endpoint is None
            or self._total >= MAX_PENDING
            or self._of_tenant[endpoint.tenant] >= MAX_PENDING_PER_TENANT
            or self._pending[endpoint.id] >= MAX_PENDING_PER_ENDPOINT
        ):
            self._answering.counts["dropped"] += 1
            return
        asker = Asker(endpoint, f"{sender[0]}:{sender[1]}", IPv4Address(destination), "udp")
        self._pending[endpoint.id] += 1
        self._of_tenant[endpoint.tenant] += 1
        self._total += 1
        answered = Deferred.fromCoroutine(self._answering.answer(wire, asker))
        answered.addCallback(self._send, sender, _PKTINFO.pack(ifindex, destination, destination))
        answered.addErrback(self._failed)
        answered.addBoth(self._done, endpoint)

    def _send(self, wire: bytes | None, to: tuple[str, int], info: bytes) -> None:
        if wire is None or self._socket.fileno() < 0:
            return
        try:
            self._socket.sendmsg([wire], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, to)
        except OSError as error:
            self._answering.counts["unsent"] += 1
            self.log.debug("dns-udp: answer not sent: {error}", error=str(error))

    def _failed(self, failure: Failure) -> None:
        self.log.failure("a question over UDP failed", failure=failure)

    def _done(self, result: object, endpoint: Endpoint) -> None:
        del result
        self._total -= 1
        for counts, key in ((self._pending, endpoint.id), (self._of_tenant, endpoint.tenant)):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]
