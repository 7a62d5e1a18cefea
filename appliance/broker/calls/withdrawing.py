"""What ends when the operator takes something away: an account, a secret, a workload, the vault's key.

| gone                    | tokens that were exchanged | handles | calls under way     |
|-------------------------|----------------------------|---------|---------------------|
| an account, or its name | its own                    | its own | its own             |
| a secret                | of its accounts            | same    | of its accounts     |
| a secret's newest value | of its accounts            | same    | go on               |
| a workload, a container |                            | its own | its own             |
| the vault is locked     | all                        | all     | all                 |

A handle that is asked for at that moment counts as one that was given.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from appliance.broker.calls import refusals

if TYPE_CHECKING:
    from appliance.broker.calls.under_way import UnderWay
    from appliance.broker.credentials.exchanged import ExchangedTokens
    from appliance.broker.handles import Handles
    from appliance.policy.set import PolicySet

Place = tuple[str, str]
"""Integration and name of a secret, within a tenant."""


class Withdrawing:
    """Decides whose they are; `policies_changed` first, with those that are in force at the start."""

    def __init__(self, exchanged: ExchangedTokens, handles: Handles, under_way: UnderWay) -> None:
        self._exchanged = exchanged
        self._handles = handles
        self._under_way = under_way
        self._places: dict[tuple[str, str], Place] = {}

    def policies_changed(self, policies: PolicySet) -> None:
        """An account that is gone, or has another secret, has nothing from before."""
        before, self._places = self._places, {
            (tenant, account.name): (account.integration, account.secret)
            for tenant, policy in policies.tenants.items()
            for account in policy.bound.accounts.values()
        }  # fmt: skip
        gone = {whose for whose, place in before.items() if self._places.get(whose) != place}
        self._forget(gone)
        if gone:
            self._under_way.end(
                lambda attestation, account: (
                    account is not None and (attestation.tenant, account.name) in gone
                ),
                refusals.ACCOUNT_WITHDRAWN,
            )

    def secret_changed(self, tenant: str, integration: str, name: str, *, removed: bool) -> None:
        """A version of it was stored, or some were removed."""
        place = (integration, name)
        self._forget(whose for whose, its in self._places.items() if whose[0] == tenant and its == place)
        if removed:
            self._under_way.end(
                lambda attestation, account: (
                    account is not None
                    and (attestation.tenant, account.integration, account.secret) == (tenant, *place)
                ),
                refusals.ACCOUNT_WITHDRAWN,
            )

    def workload_disabled(self, endpoint: str) -> None:
        """The operator disabled what runs there."""
        self._handles.revoke_all(endpoint)
        self._under_way.end(
            lambda attestation, _: attestation.endpoint == endpoint, refusals.WORKLOAD_DISABLED
        )

    def execution_ended(self, endpoint: str, request_id: str) -> None:
        """It was killed for the call `request_id`, which ends by itself."""
        self._under_way.end(
            lambda attestation, _: attestation.endpoint == endpoint and attestation.request_id != request_id,
            refusals.EXECUTION_ENDED,
        )

    def vault_locked(self) -> None:
        """Nothing that was decrypted serves any more."""
        self._exchanged.forget_everything()
        self._handles.purge_everything()
        self._under_way.end(lambda _, account: account is not None, refusals.VAULT_LOCKED)

    def _forget(self, whose: Iterable[tuple[str, str]]) -> None:
        for tenant, account in whose:
            self._exchanged.forget(tenant, account)
            self._handles.revoke_account(tenant, account)
