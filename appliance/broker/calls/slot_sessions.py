"""A session's token where a provider's key would stand: whether it is the sender's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from appliance.broker.calls import refusals
from appliance.broker.calls.dials import CallRefused
from appliance.broker.denied import Denied
from appliance.broker.sessions import AttestedLink

if TYPE_CHECKING:
    from appliance.broker.calls.secrets import InThread
    from appliance.broker.identities import Identities
    from appliance.broker.identity.address_check import AddressAllowlist
    from appliance.handover import Attestation
    from appliance.policy.bound import CompiledAccount


class SlotSessions:
    """Asks the database for each token: a session that was revoked a moment ago serves no more."""

    def __init__(
        self,
        identities: Identities,
        in_thread: InThread,
        now: Callable[[], datetime],
        addresses: AddressAllowlist | None = None,
    ) -> None:
        """`addresses`: the operator's list of those from which a workload may come."""
        self._identities = identities
        self._in_thread = in_thread
        self._now = now
        self._addresses = addresses

    async def is_session(self, attestation: Attestation, account: CompiledAccount, token: str) -> bool:
        """See `secrets.IsSession`. Raises `CallRefused` where nobody can tell."""
        link = AttestedLink(attestation.tenant, attestation.endpoint)
        identities = self._identities
        try:
            await self._in_thread(
                identities.sessions.authorise_in_slot,
                token, link, account.name, identities.workloads, self._now(),
            )  # fmt: skip
        except Denied as denied:
            if denied.status >= 500:
                raise CallRefused(refusals.SESSIONS_UNAVAILABLE) from None
            return False
        except SQLAlchemyError:
            raise CallRefused(refusals.SESSIONS_UNAVAILABLE) from None
        address = IPv4Address(attestation.source.rpartition(":")[0])
        if self._addresses is not None and not self._addresses.holds(address):
            raise CallRefused(refusals.ADDRESS_DENIED)
        return True
