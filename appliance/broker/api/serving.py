"""The broker's own interface, wired: what its main starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from appliance.broker.api import enrolment, operations, session_operations
from appliance.broker.api.conversation import Conversation
from appliance.broker.api.departures import Departures
from appliance.broker.api.enrolment import Enrolments
from appliance.broker.api.executing import Executions
from appliance.broker.api.handle_operations import HandleOperations
from appliance.broker.api.listener import WorkloadConnection, WorkloadConnections
from appliance.broker.api.operations import Operations
from appliance.broker.api.pace import Pace
from appliance.broker.api.server_tls import ServerTls
from appliance.broker.api.session_operations import SessionOperations
from appliance.broker.api.telling import Telling
from appliance.broker.calls.keeping import Keeping
from appliance.outgoing.deadlines import Deadlines

if TYPE_CHECKING:
    from appliance.audit.log import AuditLog
    from appliance.broker.calls.secrets import InThread
    from appliance.broker.calls.serving import Calls
    from appliance.broker.identities import Identities
    from appliance.broker.identity.address_check import AddressAllowlist
    from appliance.broker.identity.external_enrolment import ExternalEnrolment
    from appliance.endpoints import Endpoint, EndpointFeed
    from appliance.handover import Attestation
    from appliance.policy.tenant import TenantPolicy

OF_TENANT, IN_ALL = 64 << 20, 256 << 20
"""Octets of the bodies of workloads' requests."""


class Interface:
    """Certificates over the calls' socket (`enrolments`), the rest over workloads' TLS (`connections`)."""

    def __init__(
        self,
        reactor: Any,
        uid: int,
        identities: Identities,
        feed: EndpointFeed,
        calls: Calls,
        *,
        policy: Callable[[str], TenantPolicy],
        audit: AuditLog,
        in_thread: InThread,
        now: Callable[[], datetime],
        addresses: AddressAllowlist | None = None,
        external: ExternalEnrolment | None = None,
    ) -> None:
        """`uid` is the gateway's; for `addresses` see `operations`, for `external` `enrolment`."""
        self.enrolments = Enrolments(
            certificates=identities.certificates, endpoints=feed.table, audit=audit, in_thread=in_thread,
            pace=Pace(enrolment.AT_ONCE, enrolment.EACH, reactor.seconds), now=now, external=external,
        )  # fmt: skip
        self._departures = Departures(
            reactor,
            feed,
            identities.workloads,
            in_thread,
            now=now,
            known=self.enrolments.open,
            prune=identities.prune,
        )
        sessions = self._sessions = SessionOperations(
            identities=identities, policy=policy, audit=audit, in_thread=in_thread, now=now,
            pace=Pace(session_operations.AT_ONCE, session_operations.EACH, reactor.seconds),
        )  # fmt: skip
        handles = HandleOperations(
            identities=identities, policy=policy, secrets=calls.secrets, handles=calls.handles, audit=audit,
            in_thread=in_thread, now=now,
        )  # fmt: skip
        executions = Executions(
            identities=identities, policy=policy, begin_call=calls.begin_call, in_thread=in_thread, now=now
        )
        self._operations = Operations(
            identities=identities, endpoints=feed.table,
            telling=Telling(audit, reactor.seconds), in_thread=in_thread,
            pace=Pace(operations.AT_ONCE, operations.EACH, reactor.seconds), now=now,
            is_over=calls.is_over, addresses=addresses,
            table={
                "open_session": sessions.open, "close_session": sessions.close,
                "give_handle": handles.give, "end_handles": handles.end, "execute": executions.execute,
            },
        )  # fmt: skip
        self._deadlines = Deadlines(reactor)
        self._bodies = Keeping(OF_TENANT, IN_ALL)
        self.connections = WorkloadConnections(
            uid, ServerTls(identities.root, identities.trust, now).connection, self._converse, self._deadlines
        )

    def start(self) -> None:
        """Find out who is there; nobody gets a certificate before."""
        self._deadlines.start()
        self._departures.start()

    def stop(self) -> None:
        """No conversation goes on."""
        self._departures.stop()
        self._deadlines.stop()
        self.connections.close()

    def departed(self, endpoint: Endpoint) -> None:
        """A container left: neither its certificates nor its pace is needed any more."""
        self._departures.departed(endpoint)
        self.enrolments.departed(endpoint)
        for one in (self._operations.pace, self._operations.telling, self._sessions.pace):
            one.forget(endpoint.id)
        self.connections.departed(endpoint.id)

    def _converse(self, connection: WorkloadConnection, attestation: Attestation) -> Conversation:
        return Conversation(
            connection, attestation, self._operations, self._operations.handshake_failed, self._bodies
        )
