"""What a call speaks to: secrets, providers, the audit log; as the broker wires it once for all calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from appliance.broker.calls.keeping import Keeping
from appliance.broker.calls.websocket import Places

if TYPE_CHECKING:
    from appliance.audit.log import AuditLog
    from appliance.broker.calls.answer import Scrubbing
    from appliance.broker.calls.checks import Allowed
    from appliance.broker.calls.providers import Providers
    from appliance.broker.credentials.outgoing import Injection, Outgoing
    from appliance.broker.vault.kinds import Material
    from appliance.broker.vault.vault import Stored
    from appliance.endpoints import EndpointTable
    from appliance.handover import Attestation
    from appliance.outgoing.deadlines import Deadlines
    from appliance.policy.bound import CompiledAccount
    from appliance.policy.tenant import TenantPolicy


class Revealed(Protocol):
    """A decrypted secret; `close` clears what can be cleared."""

    material: Material
    stored: Stored
    """Which version of the vault's it is."""

    def close(self) -> None:
        """Once; later calls do nothing."""


class Secrets(Protocol):
    """Where the secret of a call comes from."""

    async def of_account(self, attestation: Attestation, account: CompiledAccount) -> Revealed:
        """The account's secret, decrypted. Raises `CallRefused`."""

    def of_handle(self, attestation: Attestation, account: CompiledAccount, handle: str) -> Revealed | None:
        """What a live handle of this execution stands for."""

    def is_session(
        self, attestation: Attestation, account: CompiledAccount, token: str, /
    ) -> Awaitable[bool]:
        """Whether the token is of a live session of this very workload. Raises `CallRefused`."""


Inject = Callable[["Attestation", "Allowed", "Revealed", "Outgoing"], Awaitable["Injection"]]
"""Where the secret goes. Raises `CredentialError`."""

Kill = Callable[["Attestation", str, str], None]
"""Ends an execution for good: its handles, its sessions, its container. With a stable code and a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What calls share."""

    policy: Callable[[str], TenantPolicy]
    endpoints: EndpointTable
    secrets: Secrets
    inject: Inject
    scrubbing: Callable[[tuple[bytes, ...]], Scrubbing]
    providers: Providers
    kill: Kill
    audit: AuditLog
    deadlines: Deadlines
    keeping: Keeping = field(default_factory=Keeping)
    websockets: Places = field(default_factory=Places)
    ended: Callable[[str], bool] = lambda _: False
    """Whether the execution on this endpoint was ended for good."""
