"""Handles: what a workload holds in the place of a secret, for one account and 300 seconds at most.

`POST /v1/handles` (`HandleWish`) → `handle`, `expires_in`. `DELETE /v1/handles` says that the work here is
done, well or not: every handle of this container is dead, and it gets no other, for good. What it still asks
without a handle is judged as before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from appliance.audit.log import AuditLog
from appliance.audit.record import LifecycleRecord
from appliance.broker.api import refusals
from appliance.broker.api.messages import HandleWish, parsed
from appliance.broker.api.operations import Admitted, authorised, json_reply
from appliance.broker.calls.checks import same_secret
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.refusals import ACCOUNT_UNBOUND, POLICY_CHANGED
from appliance.broker.calls.secrets import CallSecrets, InThread, bound_to
from appliance.broker.handles import LIFE, HandleRefused, Handles
from appliance.broker.identities import Identities
from appliance.policy.tenant import TenantPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class HandleOperations:
    """`policy` gives a tenant's policy in force. Each wants a session (see `operations.authorised`)."""

    identities: Identities
    policy: Callable[[str], TenantPolicy]
    secrets: CallSecrets
    handles: Handles
    audit: AuditLog
    in_thread: InThread
    now: Callable[[], datetime]

    async def give(self, admitted: Admitted) -> None:
        """Decrypt, and give a random name for it; see `operations.Operation`.

        What the secret was read for has to hold when the handle is given: to read it takes time.
        """
        session = await authorised(admitted, self.identities, self.in_thread, self.now())
        wish = parsed(HandleWish, admitted.asked.body)
        tenant = admitted.identity.id.tenant
        account = self.policy(tenant).account(wish.account)
        if account is None:
            raise CallRefused(ACCOUNT_UNBOUND)
        try:
            pending = self.handles.ask(bound_to(admitted.attestation, account))
            claim = self.audit.claim()
            try:
                held = await self.secrets.of_account(admitted.attestation, account)
                in_force = self.policy(tenant).account(account.name)
                if in_force is None or not same_secret(account, in_force):
                    held.close()
                    raise CallRefused(POLICY_CHANGED)
                handle = self.handles.register(pending, held.material, held.stored, held.close)
                claim.write(self._record("handle-given", admitted, f"for account {account.name}"))
            finally:
                claim.release()
        except HandleRefused as error:
            raise CallRefused(refusals.of_handle(error)) from None
        members = {"handle": handle, "expires_in": int(LIFE)}
        admitted.conversation.reply(json_reply(201, members, session.nonce))

    async def end(self, admitted: Admitted) -> None:
        """The work is done; see `operations.Operation`."""
        session = await authorised(admitted, self.identities, self.in_thread, self.now())
        dead = self.handles.revoke_all(admitted.attestation.endpoint)
        self.audit.write(self._record("handles-ended", admitted, f"{dead} were alive"))
        admitted.conversation.reply(json_reply(200, {"revoked": dead}, session.nonce))

    def _record(self, event: str, admitted: Admitted, detail: str) -> LifecycleRecord:
        who = admitted.identity.id
        return LifecycleRecord(event=event, subject=who.workload, tenant=who.tenant, detail=detail)
