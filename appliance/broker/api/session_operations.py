"""Sessions: opened with a certificate alone, ended by their token or by themselves.

`POST /v1/session` (`SessionWish`) → `token`, which is told this once, `token_type`, `expires_in`, `session`,
and `dpop_jkt` where it is bound to a key. `DELETE /v1/session` ends the session whose token is presented.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from appliance.audit.log import AuditLog
from appliance.audit.record import LifecycleRecord
from appliance.broker.api import refusals
from appliance.broker.api.messages import SessionWish, parsed
from appliance.broker.api.operations import Admitted, authorised, empty_reply, json_reply
from appliance.broker.api.pace import Pace
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.refusals import ACCOUNT_UNBOUND
from appliance.broker.calls.secrets import InThread
from appliance.broker.denied import Denied
from appliance.broker.dpop.presented import one_proof, read_presented, read_proofs
from appliance.broker.identities import Identities
from appliance.broker.sessions import Opened
from appliance.policy.tenant import TenantPolicy

AT_ONCE = 30
"""Sessions that one workload opens: a tenant has a bound, and no container of it may use that up."""
EACH = 20.0
"""Seconds, for one more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOperations:
    """`policy` gives a tenant's policy in force."""

    identities: Identities
    policy: Callable[[str], TenantPolicy]
    audit: AuditLog
    in_thread: InThread
    pace: Pace
    now: Callable[[], datetime]

    async def open(self, admitted: Admitted) -> None:
        """A new session; see `operations.Operation`."""
        wish = parsed(SessionWish, admitted.asked.body)
        proofs = read_proofs(admitted.asked.head.headers)
        if wish.dpop:
            one_proof(proofs)
        elif proofs:
            raise CallRefused(refusals.PROOF_UNWANTED)
        if wish.dpop and wish.account is not None:
            raise CallRefused(refusals.NO_PROOF_IN_SLOT)
        tenant = admitted.identity.id.tenant
        if wish.account is not None and self.policy(tenant).account(wish.account) is None:
            raise CallRefused(ACCOUNT_UNBOUND)
        wait = self.pace.take(admitted.attestation.endpoint)
        if wait:
            raise CallRefused(refusals.too_often(wait))
        claim = self.audit.claim()
        try:
            opened: Opened = await self.in_thread(self._open, admitted, wish, proofs)
            session = opened.session
            bound_to = "" if session.account is None else f", for account {session.account}"
            claim.write(
                LifecycleRecord(
                    event="session-opened",
                    subject=session.id,
                    tenant=tenant,
                    detail=f"of {admitted.identity.id.workload}, {wish.ttl} s{bound_to}",
                )
            )
        finally:
            claim.release()
        members = {
            "token": opened.token,
            "token_type": "Bearer" if session.dpop_jkt is None else "DPoP",
            "expires_in": session.expires_at - session.opened_at,
            "session": session.id,
            **({} if session.dpop_jkt is None else {"dpop_jkt": session.dpop_jkt}),
        }
        admitted.conversation.reply(json_reply(201, members, opened.nonce))

    def _open(self, admitted: Admitted, wish: SessionWish, proofs: tuple[str, ...]) -> Opened:
        return self.identities.sessions.open(
            admitted.presenter, wish.ttl, admitted.proof_request, proofs, self.now(),
            account=wish.account, shape=wish.shape,
        )  # fmt: skip

    async def close(self, admitted: Admitted) -> None:
        """End the presented session; see `operations.Operation`."""
        try:
            await authorised(admitted, self.identities, self.in_thread, self.now())
        except Denied as denied:
            # It serves in a slot, and is this workload's, which is judged first: it may be ended too.
            if denied.reason != "account_mismatch":
                raise
        token = read_presented(admitted.asked.head.headers).token
        await self.in_thread(self.identities.sessions.revoke_token, token, self.now())
        self.audit.write(
            LifecycleRecord(
                event="session-closed",
                subject=admitted.identity.id.workload,
                tenant=admitted.identity.id.tenant,
            )
        )
        admitted.conversation.reply(empty_reply())
