"""How the vault refuses: a stable code, and a sentence that quotes nothing of what is kept."""

from __future__ import annotations

UNKNOWN = "unknown-secret"
LOCKED = "vault-locked"
UNREADABLE = "vault-unreadable"
WRONG_PASSPHRASE = "wrong-passphrase"  # noqa: S105 - a code
DAMAGED = "secret-damaged"
INVALID_NAME = "invalid-name"
REPLACED = "secret-replaced"
INVALID_SECRET = "invalid-secret"  # noqa: S105 - a code


class VaultError(Exception):
    """`code` is one of this module's words, `detail` one sentence for people. No value, no passphrase."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
