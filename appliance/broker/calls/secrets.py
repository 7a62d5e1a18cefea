"""Where the secret of a call comes from: the vault, or a live handle of the same execution."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from appliance.broker.calls import refusals
from appliance.broker.calls.dials import CallRefused
from appliance.broker.handles import Bound, Handles
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.kinds import Material
from appliance.broker.vault.sealed_rows import SealedRows
from appliance.broker.vault.vault import Opened, Stored, Vault

if TYPE_CHECKING:
    from appliance.handover import Attestation
    from appliance.policy.bound import CompiledAccount

InThread = Callable[..., Awaitable[Any]]
"""Runs a blocking function with its arguments elsewhere; its result."""

IsSession = Callable[["Attestation", "CompiledAccount", str], Awaitable[bool]]


class Held:
    """A decrypted secret until `close`."""

    def __init__(self, material: Material, stored: Stored, opened: Opened | None) -> None:
        """`opened` is closed with it; None where somebody else keeps the material."""
        self.material = material
        self.stored = stored
        self._opened = opened

    def close(self) -> None:
        """Clear what can be cleared; later calls do nothing."""
        if self._opened is not None:
            self._opened.close()


class CallSecrets:
    """Implements `call.Secrets`. `is_session` tells whether a token is of this workload's live session."""

    def __init__(self, vault: Vault, handles: Handles, in_thread: InThread, is_session: IsSession) -> None:
        self._vault = vault
        self._handles = handles
        self._in_thread = in_thread
        self._rows = SealedRows(vault.changes)
        self.is_session = is_session

    async def of_account(self, attestation: Attestation, account: CompiledAccount) -> Held:
        """The database is asked in a thread, unless nothing in it has changed since; see `SealedRows`.

        What it gives is still sealed, and opened here, for this call alone.
        """
        wanted = attestation.tenant, account.integration, account.secret
        state, found = self._rows.look(*wanted)
        try:
            if found is None:
                found = await self._in_thread(self._vault.find, *wanted)
                self._rows.keep(state, *wanted, found)
            opened = self._vault.open(found)
        except VaultError as error:
            raise CallRefused(refusals.of_vault(error.code, error.detail)) from None
        except SQLAlchemyError:
            raise CallRefused(refusals.SECRETS_UNAVAILABLE) from None
        if opened.material.kind not in account.kinds:
            opened.close()
            raise CallRefused(refusals.KIND_UNFIT)
        return Held(opened.material, found.stored, opened)

    def of_handle(self, attestation: Attestation, account: CompiledAccount, handle: str) -> Held | None:
        """The handle keeps its material until it is purged; only our own hold on it ends with the call.

        None also where it stands for another secret than the account's, or for one of a kind that does not
        fit it any more.
        """
        found = self._handles.resolve(handle, bound_to(attestation, account))
        if found is None or found.material.kind not in account.kinds:
            return None
        return Held(found.material, found.stored, None)


def bound_to(attestation: Attestation, account: CompiledAccount) -> Bound:
    """Where a handle for the account's secret means something."""
    return Bound(attestation.tenant, attestation.endpoint, account.name, account.integration, account.secret)
