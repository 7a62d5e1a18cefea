"""Refusals of calls: typed, with a mend, and with no secret in them."""

from __future__ import annotations

import pytest

from appliance.audit.record import Outcome
from appliance.broker.calls import refusals
from appliance.refusal import Refusal

CONSTANTS = [value for value in vars(refusals).values() if isinstance(value, Refusal)]
MADE = [
    refusals.collision("field cookie"), refusals.not_scrubbed("content-coding-unknown"),
    refusals.of_credential("refresh-revoked", "The provider has taken the grant back."),
    refusals.of_vault("vault-locked", "The vault is locked."), refusals.of_vault("unknown-secret", "None."),
    refusals.body_too_large(64, "accounts[0]"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", [*CONSTANTS, *MADE], ids=lambda refusal: refusal.reason)
def test_each_says_what_and_whose_fault_it_is(refusal: Refusal) -> None:
    assert refusal.detail.endswith(".")
    assert refusal.mend or refusal is refusals.ABANDONED
    assert (refusal.outcome is Outcome.DENIED) == (refusal.status < 499)


def test_a_locked_vault_is_temporary_and_a_missing_secret_is_not() -> None:
    assert refusals.of_vault("vault-locked", "x.").status == 503
    assert refusals.of_vault("unknown-secret", "x.").status == 502
