"""Where the secret of a caller's call comes from: the account's, and nothing that belongs to a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.broker.calls.means import Revealed, Secrets
    from appliance.handover import Attestation
    from appliance.policy.bound import CompiledAccount


class CallerSecrets:
    """Implements `means.Secrets`: no handle is alive here, and no token is a session's."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    async def of_account(self, attestation: Attestation, account: CompiledAccount) -> Revealed:
        """See `means.Secrets`."""
        return await self._secrets.of_account(attestation, account)

    def of_handle(self, attestation: Attestation, account: CompiledAccount, handle: str) -> Revealed | None:
        """None: a handle belongs to an execution."""
        del attestation, account, handle
        return None

    async def is_session(self, attestation: Attestation, account: CompiledAccount, token: str, /) -> bool:
        """No: a session belongs to a workload."""
        del attestation, account, token
        return False
