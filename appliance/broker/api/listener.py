"""Workloads' own TLS, as the gateway's workers pass it on: a line that says which link, then their octets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger

from appliance.broker.api.conversation import Conversation
from appliance.handover import MAX_LINE, WITHOUT_ACCOUNT, Attestation, parse_attestation
from appliance.outgoing.deadlines import Deadlines
from appliance.peer import peer_credentials
from appliance.tls.stream import TLSStream

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress
    from twisted.python.failure import Failure

FIRST_SECONDS = 10.0
"""For the line, and then for the handshake."""
OF_ENDPOINT = 32
OF_TENANT = 512
IN_ALL = 2048
"""Connections at the same time."""

_log = Logger()

Converse = Callable[["WorkloadConnection", Attestation], Conversation]


class WorkloadConnections(ServerFactory["WorkloadConnection"]):
    """Accepts the gateway's workers, by the uid that the kernel tells. `secured` gives each its TLS."""

    noisy = False

    def __init__(
        self, uid: int, secured: Callable[[], SSL.Connection], converse: Converse, deadlines: Deadlines
    ) -> None:
        self.uid = uid
        self.secured = secured
        self.converse = converse
        self.deadlines = deadlines
        self.open: set[WorkloadConnection] = set()
        self._of_endpoint: Counter[str] = Counter()
        self._of_tenant: Counter[str] = Counter()

    def buildProtocol(self, addr: IAddress | None) -> WorkloadConnection:
        """A worker passes a connection on."""
        del addr
        return WorkloadConnection(self)

    def enter(self, endpoint: str, tenant: str) -> bool:
        """Whether there is room for one more of theirs; then it counts until it leaves."""
        if self._of_endpoint[endpoint] >= OF_ENDPOINT or self._of_tenant[tenant] >= OF_TENANT:
            return False
        self._of_endpoint[endpoint] += 1
        self._of_tenant[tenant] += 1
        return True

    def leave(self, endpoint: str, tenant: str) -> None:
        """One that was let in."""
        for counted, key in ((self._of_endpoint, endpoint), (self._of_tenant, tenant)):
            counted[key] -= 1
            if not counted[key]:
                del counted[key]

    def departed(self, endpoint: str) -> None:
        """A container left: none of its connections goes on."""
        for connection in tuple(self.open):
            if connection.endpoint == endpoint:
                connection.deadline_passed()

    def close(self) -> None:
        """End all of them."""
        for connection in tuple(self.open):
            connection.deadline_passed()


class WorkloadConnection(TwistedProtocol):
    """See the module. `transport` is the Unix socket."""

    transport: Any

    def __init__(self, shared: WorkloadConnections) -> None:
        self._shared = shared
        self._buffer = b""
        self._tls: TLSStream | None = None
        self.endpoint: str | None = None
        self._tenant = ""
        self.deadline = 0.0

    def connectionMade(self) -> None:
        """Only the gateway knows links."""
        shared = self._shared
        if peer_credentials(self.transport.getHandle()).uid != shared.uid:
            _log.warn("a process that is no gateway worker wanted to speak for a workload")
            self.transport.abortConnection()
            return
        if len(shared.open) >= IN_ALL:
            self.transport.abortConnection()
            return
        shared.open.add(self)
        shared.deadlines.watch(self)
        self.wait(FIRST_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        """The line once, then TLS."""
        if self._tls is not None:
            self._tls.dataReceived(data)
            return
        self._buffer += data
        line, end, rest = self._buffer.partition(b"\n")
        if not end:
            if len(line) >= MAX_LINE:
                self.transport.abortConnection()
            return
        try:
            attestation = parse_attestation(line)
        except ValueError:
            _log.error("a worker's word on a workload cannot be read")
            self.transport.abortConnection()
            return
        self._buffer = b""
        self._begin(attestation, rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The workload, or the worker, is gone."""
        shared = self._shared
        shared.open.discard(self)
        shared.deadlines.forget(self)
        if self.endpoint is not None:
            shared.leave(self.endpoint, self._tenant)
        if self._tls is not None:
            self._tls.connectionLost(reason)

    def wait(self, seconds: float) -> None:
        """End when so much time has passed without another word from `Conversation`."""
        self.deadline = self._shared.deadlines.seconds() + seconds

    def deadline_passed(self) -> None:
        """Too slow, or idle."""
        self.transport.abortConnection()

    def _begin(self, attestation: Attestation, rest: bytes) -> None:
        shared, endpoint = self._shared, attestation.endpoint
        if attestation.account != WITHOUT_ACCOUNT or not shared.enter(endpoint, attestation.tenant):
            self.transport.abortConnection()
            return
        self.endpoint, self._tenant = endpoint, attestation.tenant
        self.wait(FIRST_SECONDS)
        self._tls = TLSStream(shared.secured(), shared.converse(self, attestation), server=True)
        self._tls.makeConnection(self.transport)  # type: ignore[no-untyped-call]  # Twisted
        if rest:
            self._tls.dataReceived(rest)
