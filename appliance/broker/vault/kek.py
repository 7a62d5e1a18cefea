"""Where a key-encryption key comes from: an operator's passphrase, or a file.

A third source, a PKCS#11 token or a KMS, is whatever satisfies `envelope.KeyEncryption`: its key never comes
here.

A key file beside the database keeps the secrets from who gets the database alone (a backup, a stolen
PostgreSQL); it keeps nothing from who can read both. A passphrase does, as long as it is a good one: Argon2id
makes each guess cost.
"""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from argon2.exceptions import HashingError
from argon2.low_level import Type, hash_secret_raw

from appliance.broker.private_file import PrivateFileError, draft_name, publish, read_given, read_private
from appliance.broker.vault.envelope import KEY, Random
from appliance.broker.vault.errors import UNREADABLE, WRONG_PASSPHRASE, VaultError
from appliance.settings import CREDENTIALS

SALT = 16
MIN_PASSPHRASE = 12
"""Characters of a new passphrase."""
MAX_PASSPHRASE = 1024

_WRITE_UNITS = (
    "write the units anew (egress units --out /etc; systemctl daemon-reload), "
    "then start the broker by its unit"
)
_KEY_TEXT = re.compile(rb"[0-9a-f]{64}\n?")


@dataclass(frozen=True, slots=True)
class Argon2:
    """Parameters of Argon2id (RFC 9106): salt, passes, memory in KiB, lanes."""

    salt: bytes
    passes: int = 3
    memory: int = 64 * 1024
    lanes: int = 4

    def __post_init__(self) -> None:
        """Raise `VaultError` for what no one of us has stored: it would be weak, or never end."""
        fine = len(self.salt) >= SALT and 1 <= self.passes <= 64 and 1 <= self.lanes <= 16
        if not fine or not 19 * 1024 <= self.memory <= 1024 * 1024:
            raise VaultError(
                UNREADABLE, "the vault's parameters of Argon2id are out of bounds; restore the database"
            )


def new_parameters(random: Random) -> Argon2:
    """RFC 9106, section 4, the second recommended option: 3 passes, 64 MiB, 4 lanes; about 0.1 s."""
    return Argon2(random(SALT))


def derive(passphrase: str, parameters: Argon2) -> bytearray:
    """The KEK of a passphrase. Blocks for as long as the parameters say. Raises `VaultError`.

    The text is taken in Unicode's form C (as in RFC 8265), so that every keyboard gives the same key.
    """
    if len(passphrase) > MAX_PASSPHRASE:
        raise VaultError(WRONG_PASSPHRASE, f"a passphrase has at most {MAX_PASSPHRASE} characters")
    try:
        secret = unicodedata.normalize("NFC", passphrase).encode()
        key = hash_secret_raw(
            secret,
            parameters.salt,
            time_cost=parameters.passes,
            memory_cost=parameters.memory,
            parallelism=parameters.lanes,
            hash_len=KEY,
            type=Type.ID,
        )
    except UnicodeEncodeError:
        raise VaultError(WRONG_PASSPHRASE, "the passphrase is not text that UTF-8 can write") from None
    except (HashingError, MemoryError) as error:
        mib = parameters.memory // 1024
        raise VaultError(
            UNREADABLE, f"Argon2id needs {mib} MiB of memory; free some, then try again"
        ) from error
    return bytearray(key)


def check_new(passphrase: str) -> None:
    """Refuse what is too easily guessed. Raises `VaultError`."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise VaultError(
            WRONG_PASSPHRASE, f"a new passphrase needs {MIN_PASSPHRASE} characters; take some words at random"
        )


def read_passphrase_file(path: Path) -> str:
    """The first line of a file that is its owner's alone, or that systemd gave us. Raises `VaultError`."""
    by_systemd = path.is_relative_to(CREDENTIALS)
    own = f"put the passphrase there (chmod 600, chown {os.geteuid()})"
    octets = _read(path, _WRITE_UNITS if by_systemd else own)
    try:
        line = octets.decode().split("\n", 1)[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise VaultError(UNREADABLE, f"{path}: not UTF-8 text; save it as UTF-8") from None
    if not line:
        raise VaultError(UNREADABLE, f"{path}: the first line is empty; write the passphrase there")
    return line


def read_key_file(path: Path) -> bytearray:
    """The key of a key file: 64 digits of lower-case hexadecimal. Raises `VaultError`."""
    octets = _read(path, "restore it from a backup: without it no secret opens")
    if not _KEY_TEXT.fullmatch(octets):
        raise VaultError(UNREADABLE, f"{path}: not a key (64 hexadecimal digits); restore it from a backup")
    return bytearray.fromhex(octets.decode("ascii"))


def make_key_file(path: Path, random: Random) -> bytearray:
    """A new random key, on the disk before it is used. Never replaces a file. Raises `VaultError`."""
    key = bytearray(random(KEY))
    try:
        (path.parent / draft_name(path.name)).unlink(missing_ok=True)  # of a crash
        publish(path.parent, path.name, key.hex().encode() + b"\n", 0o600)
    except OSError as error:
        raise VaultError(UNREADABLE, f"{path}: {error.strerror}; mend that, then start again") from error
    return key


def _read(path: Path, mend: str) -> bytes:
    try:
        return read_given(path) if path.is_relative_to(CREDENTIALS) else read_private(path)
    except PrivateFileError as error:
        raise VaultError(UNREADABLE, str(error)) from error
    except OSError as error:
        reason = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise VaultError(UNREADABLE, f"{path}: {reason}; {mend}") from error
