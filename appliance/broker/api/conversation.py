"""HTTP/1.1 with one workload inside TLS (`server_connection`).

Whom a certificate names is asked anew for each request: a connection outlives a revocation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cryptography import x509

from appliance.broker.api.server_connection import REQUEST_SECONDS, ServerConnection
from appliance.broker.identity.tls_context import explain, presented_chain
from appliance.http1.head import RequestHead

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from appliance.broker.api.listener import WorkloadConnection
    from appliance.broker.api.routes import Route
    from appliance.broker.calls.keeping import Keeping
    from appliance.handover import Attestation


@dataclass(frozen=True, slots=True)
class Asked:
    """One whole request of one connection; `chain` is what TLS has verified."""

    attestation: Attestation
    chain: tuple[x509.Certificate, ...]
    head: RequestHead
    body: bytes


class Answering(Protocol):
    """What is done for a request. It ends by one word to the conversation."""

    def begin(self, asked: Asked, route: Route, conversation: Conversation) -> Deferred[None]:
        """Cancelled when the workload has gone."""


class Conversation(ServerConnection):
    """See the module; see `tls.stream.FirstInside`. `failed` hears why a handshake was refused."""

    def __init__(
        self,
        connection: WorkloadConnection,
        attestation: Attestation,
        answering: Answering,
        failed: Callable[[Attestation, str, str], None],
        bodies: Keeping,
    ) -> None:
        super().__init__(connection, attestation.request_id, bodies, attestation.tenant)
        self._attestation = attestation
        self._answering = answering
        self._failed = failed
        self._chain: tuple[x509.Certificate, ...] = ()
        self._secured = False

    def makeConnection(self, transport: Any) -> None:
        """TLS begins."""
        self.transport = transport

    def handshakeCompleted(self) -> None:
        """The client has proved the key of a certificate of ours."""
        self._secured = True
        self._chain = presented_chain(self.transport.connection)
        self._connection.wait(REQUEST_SECONDS)

    def connectionLost(self, reason: Failure) -> None:
        """The workload is gone."""
        if not self._secured:
            refusal = explain(reason.value or ConnectionError())
            self._failed(self._attestation, refusal.fault, refusal.detail)
        super().connectionLost(reason)

    def _answer(self, head: RequestHead, body: bytes, route: Route) -> Deferred[None]:
        asked = Asked(self._attestation, self._chain, head, body)
        return self._answering.begin(asked, route, self)
