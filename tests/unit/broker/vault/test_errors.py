"""appliance.broker.vault.errors: the words that machines know."""

from __future__ import annotations

from appliance.broker.vault import errors


def test_codes_are_stable() -> None:
    codes = {value for name, value in vars(errors).items() if name.isupper()}
    assert codes == {
        "unknown-secret", "vault-locked", "vault-unreadable", "wrong-passphrase", "secret-damaged",
        "invalid-name", "invalid-secret", "secret-replaced",
    }  # fmt: skip


def test_an_error_says_its_code_and_its_sentence() -> None:
    error = errors.VaultError(errors.LOCKED, "unlock it")
    assert (error.code, error.detail, str(error)) == ("vault-locked", "unlock it", "vault-locked: unlock it")
