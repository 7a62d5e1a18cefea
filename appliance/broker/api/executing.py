"""`POST /execute`: one call to a provider, carried like any other; its answer is the answer.

The session's token is presented in `Authorization`, with a DPoP proof where the session is bound to a key.
The provider's answer comes back as it is but for what the scrubber takes out; a refusal of ours is a problem
page with `X-Egress-Request-Id`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from appliance.broker.api import refusals
from appliance.broker.api.intended import account_of, holds, intended
from appliance.broker.api.messages import ExecuteWish, parsed
from appliance.broker.api.operations import Admitted, authorised
from appliance.broker.calls.dials import CallRefused
from appliance.broker.calls.secrets import InThread
from appliance.broker.dpop.challenge import nonce_fields
from appliance.broker.dpop.presented import read_presented
from appliance.broker.identities import Identities
from appliance.policy.tenant import TenantPolicy
from appliance.refusal import Refusal

if TYPE_CHECKING:
    from appliance.broker.api.server_connection import ServerConnection
    from appliance.broker.calls.connection import Handed
    from appliance.handover import Attestation
    from appliance.http1.head import RequestHead

BeginCall = Callable[[Any, "Attestation", "RequestHead"], "Handed"]


class ExecuteConnection:
    """What a call speaks to in the place of a worker's connection: whoever asked for it.

    `nonce` is for the next proof of whoever asked (RFC 9449 section 8.2), None where it has the newest.
    """

    def __init__(self, conversation: ServerConnection, nonce: str | None = None) -> None:
        self._conversation = conversation
        transport = conversation.transport
        self.transport = transport if nonce is None else WithNonce(transport, nonce)

    def finished(self, *, keep: bool) -> None:
        """See `calls.connection.CallConnection`."""
        self._conversation.finished(keep=keep)

    def abort(self) -> None:
        """See `calls.connection.CallConnection`."""
        self._conversation.abort()


class WithNonce:
    """A transport to which a whole head is written first: it gets the field, in the place of a provider's."""

    def __init__(self, transport: Any, nonce: str) -> None:
        self._transport = transport
        self._fields: bytes | None = b"".join(b"%b: %b\r\n" % field for field in nonce_fields(nonce))

    def write(self, data: bytes) -> None:
        """Octets of the answer."""
        fields, self._fields = self._fields, None
        if fields is not None:
            head, end, body = data.partition(b"\r\n\r\n")
            line, *lines = head.split(b"\r\n")
            kept = [line, *(one for one in lines if one.partition(b":")[0].lower() != b"dpop-nonce")]
            data = b"\r\n".join(kept) + b"\r\n" + fields.removesuffix(b"\r\n") + end + body
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """`policy` gives a tenant's policy in force, `begin_call` the way of a call."""

    identities: Identities
    policy: Callable[[str], TenantPolicy]
    begin_call: BeginCall
    in_thread: InThread
    now: Callable[[], datetime]

    async def execute(self, admitted: Admitted) -> None:
        """See `operations.Operation`."""
        session = await authorised(admitted, self.identities, self.in_thread, self.now())
        wish = parsed(ExecuteWish, admitted.asked.body)
        if holds(wish, read_presented(admitted.asked.head.headers).token):
            raise CallRefused(refusals.TOKEN_IN_REQUEST)
        carry(
            wish, admitted.attestation, self.policy(admitted.identity.id.tenant), admitted.conversation,
            self.begin_call, nonce=session.nonce,
        )  # fmt: skip


def carry(
    wish: ExecuteWish,
    attestation: Attestation,
    policy: TenantPolicy,
    conversation: ServerConnection,
    begin_call: BeginCall,
    *,
    nonce: str | None = None,
) -> None:
    """Begin the call that the message describes, for whom `attestation` says. Raises `CallRefused`.

    For `nonce` see `ExecuteConnection`.
    """
    request = intended(wish)
    if isinstance(request, Refusal):
        raise CallRefused(request)
    account = account_of(wish, policy, request.host, request.port)
    if isinstance(account, Refusal):
        raise CallRefused(account)
    attestation = replace(
        attestation,
        request_id=conversation.request_id,
        account=account.name,
        port=request.port,
        withheld="",
    )
    call = begin_call(ExecuteConnection(conversation, nonce), attestation, request.head)
    conversation.abandoned = call.abandoned
    if request.body:
        # All of it is there: it is given before the call begins, so that no refusal finds half of it.
        call.body([request.body], done=True)
        conversation.transport.resumeProducing()
    call.start()
