"""The vault as the settings name it: opened when the broker starts, or left locked for the operator."""

from __future__ import annotations

import secrets
from pathlib import Path

from appliance.broker.database import DatabaseError, open_database
from appliance.broker.vault.envelope import LocalKey, Random
from appliance.broker.vault.errors import LOCKED, UNREADABLE, VaultError
from appliance.broker.vault.kek import make_key_file, read_key_file, read_passphrase_file
from appliance.broker.vault.keyring import UNLOCK, Keyring, Source, State
from appliance.broker.vault.vault import Vault
from appliance.settings import Settings


def open_vault(settings: Settings, random: Random = secrets.token_bytes) -> Vault:
    """The vault, open unless its passphrase is asked for. Blocks. Raises `VaultError` with one sentence.

    A first start makes the directory, the database and, with `unlock: key_file`, the key file.
    """
    _make_directory(settings.vault_dir)
    try:
        vault = Vault(open_database(settings.vault_url), random)
    except DatabaseError as error:
        raise VaultError(UNREADABLE, str(error)) from error
    try:
        _open(vault.keyring, settings, random)
    except BaseException:
        vault.close()
        raise
    return vault


def _open(keyring: Keyring, settings: Settings, random: Random) -> None:
    match settings.vault.unlock:
        case "key_file":
            _use_key_file(keyring, settings.vault_key_file, random)
        case "passphrase_file":
            assert settings.vault.passphrase_file is not None
            _use_passphrase(keyring, read_passphrase_file(settings.vault.passphrase_file))
        case "passphrase":
            entry = keyring.entry()
            if entry is not None and entry.source is not Source.PASSPHRASE:
                raise VaultError(
                    UNREADABLE, f"the vault has no passphrase, but a {entry.source}; mend vault.unlock"
                )


def _make_directory(directory: Path) -> None:
    """Whose it is and who may use it is looked at when the database is opened."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise VaultError(UNREADABLE, f"{directory}: {error.strerror}; mend that, then start again") from error


def change_key_file(keyring: Keyring, path: Path, random: Random = secrets.token_bytes) -> int:
    """Make a new key file and wrap every data key anew for it; how many. Blocks. Raises `VaultError`.

    The new key stands beside the old one until the database knows it alone. After a failure it stays there:
    whether a lost connection's last word was heard, the next start finds out.
    """
    if keyring.state() is not State.OPEN:  # what waits beside may be the key that the database knows
        raise VaultError(LOCKED, UNLOCK)
    following = _following(path)
    following.unlink(missing_ok=True)
    key = LocalKey(make_key_file(following, random), random)
    try:
        changed = keyring.change(key, Source.KEY_FILE)
    except BaseException:
        key.close()
        raise
    _replace(path)
    return changed


def _use_key_file(keyring: Keyring, path: Path, random: Random) -> None:
    if keyring.state() is State.NEW and not path.is_symlink() and not path.exists():
        keyring.use(LocalKey(make_key_file(path, random), random), Source.KEY_FILE)
        return
    try:
        keyring.use(LocalKey(read_key_file(path), random), Source.KEY_FILE)
    except VaultError:
        if not _following(path).exists():
            raise
        keyring.use(LocalKey(read_key_file(_following(path)), random), Source.KEY_FILE)
        _replace(path)


def _following(path: Path) -> Path:
    """Where a new key waits until it is in use."""
    return path.with_name(f"{path.name}.next")


def _replace(path: Path) -> None:
    """Until this is done, the next start finds the key in its first place."""
    try:
        _following(path).replace(path)
    except OSError as error:
        raise VaultError(UNREADABLE, f"{path}: {error.strerror}; put {path.name}.next there") from error


def _use_passphrase(keyring: Keyring, passphrase: str) -> None:
    if keyring.state() is State.NEW:
        keyring.choose(passphrase)
    else:
        keyring.unlock(passphrase)
