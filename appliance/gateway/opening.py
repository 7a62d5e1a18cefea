"""The first bytes of a connection, or of a CONNECT tunnel: what they are, and what becomes of them.

| first bytes | on a connection             | in a CONNECT tunnel               |
|-------------|-----------------------------|-----------------------------------|
| ClientHello | TLS for its server name     | TLS for the authority, or refused |
| other       | HTTP (the strict gate says) | refused (attack D8)               |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from appliance.gateway import refusals
from appliance.gateway.broker_tunnel import BrokerTunnel
from appliance.gateway.channel import Channel
from appliance.gateway.passthrough import Passthrough
from appliance.gateway.routes import NoRoute
from appliance.http1.refused import NeedMore
from appliance.http1.target import DEFAULT_PORTS
from appliance.names import BROKER_NAME, GATEWAY_NAME, OWN_NAMES, Authority, HostName, InvalidName
from appliance.outgoing.deadlines import NEVER
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal
from appliance.tls.clienthello import ClientHello, InvalidHello, NotTLS, peek
from appliance.tls.leaf import LeafUnavailable

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from appliance.gateway.connection import Connection

HANDSHAKE = 0x16
"""TLS ContentType of a ClientHello's record (RFC 8446 section 5.1)."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A server name that may go on. `standing` is set when only a typed refusal is to be told inside TLS."""

    name: HostName
    port: int
    standing: Refusal | None = None
    passthrough: bool = False


def judge_hello(
    hello: ClientHello, authority: Authority | None, port: int, policy: TenantPolicy
) -> Admitted | Refusal:
    """The verdict on a ClientHello before anything is minted, resolved or dialled.

    `authority` is that of the CONNECT, if any; `port` that of the connection. An encrypted inner name (ECH)
    is never read: where TLS ends here, it ends under the outer name, and Host must be equal to that. Where
    TLS is passed on, a server may follow the inner one, which nobody judged. GREASE cannot be told from it.
    """
    if hello.server_name is None:
        return refusals.NO_SERVER_NAME
    try:
        name = HostName.parse(hello.server_name)
    except InvalidName as error:
        return refusals.server_name_invalid(error.detail)
    if authority is not None:
        if name != authority.host:
            return refusals.server_name_mismatch(name, authority.host)
        port = authority.port
    if name == GATEWAY_NAME:
        return Admitted(name, port, standing=refusals.OWN_ADDRESS.closing())
    if name in OWN_NAMES and port == DEFAULT_PORTS["https"]:
        return Admitted(name, port)
    verdict = policy.judge_host("https", name, port)
    if not verdict.allowed:
        return Admitted(name, port, standing=refusals.from_verdict(verdict).closing())
    passthrough = policy.passthrough(name, port)
    if passthrough and hello.ech:
        return refusals.ENCRYPTED_NAME
    return Admitted(name, port, passthrough=passthrough)


class Opening:
    """Reads first bytes within their time, then hands the connection over to what they ask for."""

    def __init__(self, connection: Connection, authority: Authority | None) -> None:
        self._connection = connection
        self._worker = connection.worker
        self._authority = authority
        self._buffer = b""
        self._deciding: Deferred[None] | None = None
        self._asked: HostName | None = None  # the name whose addresses the resolver was asked for
        self._over = False

    def dataReceived(self, data: bytes) -> None:
        """Look at what there is."""
        self._buffer += data
        if self._deciding is not None:
            # A client says nothing between ClientHello and our answer but early data, which nobody asked for.
            if len(self._buffer) > 2 * self._worker.limits.buffered_bytes:
                self._refuse(refusals.TLS_INVALID)
        elif self._buffer[0] == HANDSHAKE:
            self._read_hello()
        elif self._authority is not None:
            self._refuse(refusals.NOT_TLS_IN_TUNNEL)
        else:
            caller = self._connection.caller
            self._connection.open_session(Channel(caller, caller.destination_port), self._buffer)

    def connectionLost(self, reason: Failure) -> None:
        """Stop deciding; that the name was asked for is on record."""
        del reason
        if self._asked is not None and not self._over:
            self._connection.record(refusals.CLIENT_CLOSED, self._asked.text)
        self._stop_deciding()

    def deadline_passed(self) -> None:
        """Nothing, or not enough, came in time."""
        self._refuse(refusals.NO_FIRST_BYTES)

    def policy_changed(self) -> None:
        """Nothing was decided yet, or it is decided again: for the first request, or before a passthrough."""

    def end(self, refusal: Refusal) -> None:
        """Refuse and close."""
        self._stop_deciding()
        self._connection.record(refusal, self._host if self._asked is None else self._asked.text)
        self._connection.transport.abortConnection()

    def drain(self) -> None:
        """A connection that has asked for nothing can go."""
        if not self._buffer:
            self._connection.transport.loseConnection()

    @property
    def _host(self) -> str | None:
        return None if self._authority is None else str(self._authority)

    def _read_hello(self) -> None:
        try:
            hello = peek(self._buffer)
        except (NotTLS, InvalidHello):
            self._refuse(refusals.TLS_INVALID)
            return
        if isinstance(hello, NeedMore):
            return
        caller = self._connection.caller
        policy = self._worker.policy(caller.endpoint.tenant)
        decision = judge_hello(hello, self._authority, caller.destination_port, policy)
        if isinstance(decision, Refusal):
            self._refuse(decision, hello.server_name)
        elif decision.standing is not None or self._authority is not None or decision.name in OWN_NAMES:
            self._go_on(decision)
        elif caller.destination in self._worker.routes.kept(policy, decision.name, decision.port):
            self._go_on(decision)  # what `_check_destination` would find, without a coroutine: 15 us
        else:
            self._connection.deadline = NEVER
            self._asked = decision.name
            self._deciding = Deferred.fromCoroutine(self._check_destination(decision, policy))
            self._deciding.addErrback(self._bug)

    async def _check_destination(self, admitted: Admitted, policy: TenantPolicy) -> None:
        """Transparent use: the address connected to must be one of the name's own (attack D5)."""
        caller, name = self._connection.caller, admitted.name
        destination, asker = caller.destination, caller.endpoint.id
        standing = None
        try:
            if not await self._worker.routes.is_pinned(
                policy, name, admitted.port, destination, endpoint=asker
            ):
                standing = refusals.not_pinned(name, destination)
        except NoRoute as answer:
            standing = answer.refusal.closing()
        self._go_on(Admitted(name, admitted.port, standing, admitted.passthrough))

    def _stop_deciding(self) -> None:
        self._over = True
        deciding, self._deciding = self._deciding, None
        if deciding is not None:
            deciding.cancel()

    def _go_on(self, admitted: Admitted) -> None:
        self._deciding = None
        connection = self._connection
        if admitted.name == BROKER_NAME and admitted.standing is None:
            BrokerTunnel(connection, admitted.name, admitted.port, self._buffer).start()
            return
        if admitted.passthrough and admitted.standing is None:
            Passthrough(connection, admitted.name, admitted.port, self._buffer).start()
            return
        channel = Channel(
            connection.caller,
            admitted.port,
            admitted.name,
            proxied=self._authority is not None,
            standing=admitted.standing,
        )
        try:
            connection.open_secured_session(channel, admitted.name, self._buffer)
        except LeafUnavailable:
            self._refuse(refusals.LEAF_UNAVAILABLE, admitted.name.text.encode())

    def _refuse(self, refusal: Refusal, server_name: bytes | None = None) -> None:
        """End before any request: as TLS expects it, when it was TLS."""
        self._stop_deciding()
        connection = self._connection
        host = self._host if server_name is None else server_name.decode("ascii", "backslashreplace")
        connection.record(refusal, host)
        if self._buffer[:1] == bytes([HANDSHAKE]):
            connection.transport.write(refusal.alert_record())
        elif self._authority is None and self._buffer:
            connection.transport.write(refusal.page(self._worker.next_id()))
        connection.close()

    def _bug(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            self._connection.failed(failure)
