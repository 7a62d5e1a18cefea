"""`POST /execute` of a caller that is no container: who it is, whether it may, and a call like any other.

Actor, tenant and scopes are the credential's. Nothing in the body, and of the fields nothing but the
credential, has a say; of what goes on to the provider the trusted peers' fields are no part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred

from appliance.audit.log import AuditUnavailable
from appliance.audit.record import LifecycleRecord, Outcome
from appliance.broker.api import refusals
from appliance.broker.api.executing import BeginCall, carry
from appliance.broker.api.intended import holds
from appliance.broker.api.messages import ExecuteWish, parsed
from appliance.broker.api.pace import Pace, times
from appliance.broker.api.telling import Telling
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.for_caller import CallerAttestation
from appliance.broker.calls.refusals import AUDIT_UNAVAILABLE, denied, failed
from appliance.broker.identity.actors import Caller, CallerRefusal
from appliance.broker.identity.callers import Callers
from appliance.broker.identity.trusted_headers import UnixPeer, strip
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from appliance.broker.callers.connection import CallerConversation
    from appliance.broker.callers.standing import Standing
    from appliance.http1.fields import Headers
    from appliance.http1.head import RequestHead
    from appliance.policy.tenant import TenantPolicy

OF_PEER_AT_ONCE, OF_PEER_EACH = 500, 0.002
"""Requests of one uid, and seconds for each further one: a trusted peer speaks for many callers."""
AT_ONCE, EACH = 200, 0.01
"""The same of one caller."""

CREDENTIAL_IN_REQUEST = denied(
    400, "token-in-request", "The caller's own credential stands in the request that is to be sent.",
    "Present it in Authorization, and nowhere else.",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerExecutions:
    """`begin_call` is the way of a caller's call, `worker` gives the number of a worker that dials for it.

    `policy` gives a tenant's policy in force. See `connection.Answering`.
    """

    callers: Callers
    standing: Standing
    policy: Callable[[str], TenantPolicy]
    begin_call: BeginCall
    worker: Callable[[], int]
    telling: Telling
    pace_of_peers: Pace
    pace: Pace

    def begin(self, head: RequestHead, body: bytes, conversation: CallerConversation) -> Deferred[None]:
        """Answer it."""
        return Deferred.fromCoroutine(self._answer(head, body, conversation))

    async def _answer(self, head: RequestHead, body: bytes, conversation: CallerConversation) -> None:
        try:
            await self._execute(head, body, conversation)
        except _NobodyError as nobody:
            challenge = nobody.refusal.challenge
            fields = () if challenge is None else (("WWW-Authenticate", challenge),)
            conversation.refuse(of_caller(nobody.refusal), fields)
        except CallRefused as refused:
            conversation.refuse(refused.refusal)
        except SQLAlchemyError:
            conversation.refuse(refusals.STORE_UNAVAILABLE)
        except AuditUnavailable:
            conversation.refuse(AUDIT_UNAVAILABLE)

    async def _execute(self, head: RequestHead, body: bytes, conversation: CallerConversation) -> None:
        self._wait(self.pace_of_peers, str(conversation.uid))
        caller = await self._authenticated(head, conversation)
        self._wait(self.pace, f"{caller.tenant} {caller.principal}", times(body))
        wish = parsed(ExecuteWish, body)
        if any(holds(wish, token) for token in _credentials(head.headers)):
            raise CallRefused(CREDENTIAL_IN_REQUEST)
        policy = self.policy(caller.tenant)
        attestation = CallerAttestation(
            request_id=conversation.request_id, tenant=caller.tenant, endpoint="", container="", run="",
            source=f"uid:{conversation.uid}", worker=self.worker(), account="",
            generation=policy.generation, port=0, withheld="",
            caller=caller, refusal=lambda: self.standing.refusal(caller),
        )  # fmt: skip
        carry(_without_ours(wish), attestation, policy, conversation, self.begin_call)

    async def _authenticated(self, head: RequestHead, conversation: CallerConversation) -> Caller:
        found = await self.callers.authenticate(head.headers, UnixPeer(conversation.uid))
        if isinstance(found, CallerRefusal):
            self._record(conversation, None, found.fault, found.detail)
            raise _NobodyError(found)
        gone = self.standing.refusal(found.caller)
        if gone is not None:
            self._record(conversation, found.caller, gone.reason, gone.detail)
            raise CallRefused(gone)
        return found.caller

    def _wait(self, pace: Pace, key: str, counted: int = 1) -> None:
        seconds = pace.take(key, counted)
        if seconds:
            raise CallRefused(refusals.too_often(seconds))

    def _record(
        self, conversation: CallerConversation, caller: Caller | None, reason: str, detail: str
    ) -> None:
        record = LifecycleRecord(
            event="caller-refused",
            subject=f"uid:{conversation.uid}" if caller is None else caller.principal,
            tenant=None if caller is None else caller.tenant,
            outcome=Outcome.DENIED, reason=reason, detail=detail,
        )  # fmt: skip
        self.telling.write(str(conversation.uid), record)


class _NobodyError(Exception):
    """No caller, and why."""

    def __init__(self, refusal: CallerRefusal) -> None:
        super().__init__(refusal.fault)
        self.refusal = refusal


def of_caller(refusal: CallerRefusal) -> Refusal:
    """The credential does not count."""
    detail = refusal.detail[0].upper() + refusal.detail[1:] + "."
    if refusal.status >= 500:
        return failed(refusal.status, refusal.fault, detail)
    return denied(refusal.status, refusal.fault, detail, "Present one API key or token that is valid.")


def _credentials(headers: Headers) -> list[str]:
    """What stands behind the scheme of `Authorization`."""
    sent = [value for name, value in headers if name.lower() == b"authorization"]
    return [token for value in sent if (token := value.partition(b" ")[2].decode("latin-1"))]


def _without_ours(wish: ExecuteWish) -> ExecuteWish:
    """Without the trusted peers' fields, which would be a caller's own text to whoever reads them next."""
    kept = {
        name: value
        for name, value in wish.headers.items()
        if strip(((name.encode("utf-8", "surrogatepass"), b""),))
    }
    return wish.model_copy(update={"headers": kept})
