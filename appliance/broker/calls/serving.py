"""The calls' parts, wired: what the broker's main starts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall

from appliance.broker.calls.call import Call
from appliance.broker.calls.connection import CallConnections
from appliance.broker.calls.dials import Dials
from appliance.broker.calls.ending import Ending
from appliance.broker.calls.means import Means
from appliance.broker.calls.own_request import OwnRequests
from appliance.broker.calls.providers import Providers
from appliance.broker.calls.secrets import CallSecrets, InThread, IsSession
from appliance.broker.calls.token_endpoint import TokenEndpoints
from appliance.broker.calls.under_way import UnderWay
from appliance.broker.calls.withdrawing import Withdrawing
from appliance.broker.credentials.exchange_host import check_exchange_host
from appliance.broker.credentials.exchanged import ExchangedTokens
from appliance.broker.credentials.inject import inject
from appliance.broker.handles import Handles
from appliance.broker.scrub.scrubber import Scrubber
from appliance.handover import WITHOUT_ACCOUNT
from appliance.outgoing.deadlines import Deadlines
from appliance.tls.upstream import UpstreamTrust

if TYPE_CHECKING:
    from appliance.audit.log import AuditLog
    from appliance.broker.calls.checks import Allowed
    from appliance.broker.calls.connection import Begin, CallConnection, Handed
    from appliance.broker.calls.ending import Expel
    from appliance.broker.calls.means import Revealed
    from appliance.broker.credentials.outgoing import Injection, Outgoing
    from appliance.broker.vault.kinds import OAuthRefresh
    from appliance.broker.vault.vault import Stored, Vault
    from appliance.endpoints import Endpoint, EndpointTable
    from appliance.handover import Attestation
    from appliance.http1.head import RequestHead
    from appliance.policy.tenant import TenantPolicy
    from appliance.settings import Settings

PURGE_SECONDS = 60.0
"""How long an exchanged token is in memory after its end, without traffic."""


class Calls:
    """Everything from the workers' sockets to the providers'. `policy` gives a tenant's policy in force."""

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        vault: Vault,
        *,
        policy: Callable[[str], TenantPolicy],
        endpoints: EndpointTable,
        audit: AuditLog,
        in_thread: InThread,
        is_session: IsSession,
        own: Begin,
        expel: Expel,
        now: Callable[[], datetime],
    ) -> None:
        """`own` begins what comes without an account; for `expel` see `ending`. Raises `TrustStoreError`."""
        self._own = own
        self._vault = vault
        self._in_thread = in_thread
        self._policy = policy
        self._now = now
        self._exchanged = ExchangedTokens()
        self._purging = LoopingCall(lambda: self._exchanged.purge(now()))
        self._purging.clock = reactor
        self.handles = Handles(reactor)
        self._under_way = UnderWay()
        self.withdrawing = Withdrawing(self._exchanged, self.handles, self._under_way)
        self._deadlines = Deadlines(reactor)
        self.dials = Dials(reactor, settings.uids.gateway)
        self._providers = Providers(reactor, self.dials, UpstreamTrust(settings.upstream_ca), self._deadlines)
        self.requests = OwnRequests(self._providers)
        self._tokens = TokenEndpoints(self.requests, reactor)
        self._ending = ending = Ending(
            reactor, str(settings.control_socket("netd")), self.handles, audit,
            endpoints=endpoints, expel=expel, ended=self.withdrawing.execution_ended,
        )  # fmt: skip
        self.is_over = ending.is_over
        self.secrets = CallSecrets(vault, self.handles, in_thread, is_session)
        self.means = Means(
            policy=policy,
            endpoints=endpoints,
            secrets=self.secrets,
            inject=self._inject,
            scrubbing=Scrubber,
            providers=self._providers,
            kill=ending.kill,
            audit=audit,
            deadlines=self._deadlines,
            ended=ending.is_over,
        )
        self.connections = CallConnections(settings.uids.gateway, self._begin)

    def start(self) -> None:
        """Begin to look after deadlines, and to drop exchanged tokens that have ended."""
        self._deadlines.start()
        self._purging.start(PURGE_SECONDS, now=False)

    def stop(self) -> None:
        """Nothing outlives us: calls end on record, handles die, connections to providers end."""
        self.connections.close()
        self._ending.close()
        self._deadlines.stop()
        if self._purging.running:
            self._purging.stop()
        self.handles.revoke_everything()
        self._providers.close()

    def departed(self, endpoint: Endpoint) -> None:
        """A container left: so did its execution, with the calls under way (requirement 004-11)."""
        self.connections.departed(endpoint.id)
        self.handles.revoke_all(endpoint.id)

    def _begin(self, connection: CallConnection, attestation: Attestation, head: RequestHead) -> Handed:
        if attestation.account == WITHOUT_ACCOUNT:
            return self._own(connection, attestation, head)
        return self.begin_call(connection, attestation, head)

    def begin_call(
        self, connection: Any, attestation: Attestation, head: RequestHead, means: Means | None = None
    ) -> Call:
        """A call, however it came; `connection` does what a `CallConnection` does for it.

        `means` differ from ours (`means`) where it is no container that calls.
        """
        call = Call(means or self.means, connection, attestation, head)
        self._under_way.add(call)
        return call

    async def _inject(
        self, attestation: Attestation, allowed: Allowed, revealed: Revealed, outgoing: Outgoing
    ) -> Injection:
        account, tenant = allowed.account, attestation.tenant
        check_exchange_host(revealed.material, account.token_hosts)
        rotated = partial(self._rotated, attestation, allowed, revealed.stored)
        exchanged = self._exchanged.of(tenant, account.name, rotated)
        policy = partial(self._policy, tenant)
        post = partial(self._tokens.post, attestation, policy, account.name)
        return await inject(revealed.material, allowed.group.slot, outgoing, self._now(), post, exchanged)

    async def _rotated(
        self, attestation: Attestation, allowed: Allowed, stored: Stored, material: OAuthRefresh
    ) -> int:
        """A refresh token that the provider has replaced: the vault's next version."""
        account = allowed.account
        store = partial(
            self._vault.rotate,
            attestation.tenant, account.integration, account.secret, material, self._now(), expected=stored,
        )  # fmt: skip
        version: int = await self._in_thread(store)
        return version
