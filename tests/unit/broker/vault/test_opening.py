"""appliance.broker.vault.opening: what a first and a later start do, and with what sentence one ends."""

from __future__ import annotations

import secrets
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from appliance.broker.vault import kek as keys
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.keyring import Source, State
from appliance.broker.vault.kinds import StaticSecret
from appliance.broker.vault.opening import change_key_file, open_vault
from appliance.broker.vault.vault import Vault
from appliance.settings import Settings

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PASSPHRASE = "seven owls read maps"
OURS = ("acme", "openai-acme", "key")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that Argon2id is allowed to cost."""
    monkeypatch.setattr(keys, "new_parameters", lambda random: keys.Argon2(random(16), 1, 19 * 1024, 1))


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every vault that a test opened is left."""
    opened: list[Vault] = []
    init = Vault.__init__

    def remembered(self: Vault, *arguments: Any) -> None:
        init(self, *arguments)
        opened.append(self)

    monkeypatch.setattr(Vault, "__init__", remembered)
    yield
    for vault in opened:
        vault.close()


def settings(tmp_path: Path, **vault: Any) -> Settings:
    return Settings.model_validate({"state_dir": tmp_path / "state", "vault": vault})


def refused(settings: Settings, code: str = "vault-unreadable") -> str:
    with pytest.raises(VaultError) as caught:
        open_vault(settings)
    assert caught.value.code == code
    assert "\n" not in caught.value.detail
    assert PASSPHRASE not in caught.value.detail
    return caught.value.detail


def filled(vault: Vault) -> Vault:
    vault.put(*OURS, StaticSecret(value=SecretStr("value-1-long")), NOW)
    return vault


def value(vault: Vault) -> str:
    with vault.reveal(*OURS) as material:
        assert isinstance(material, StaticSecret)
        return material.value.get_secret_value()


def test_the_first_start_needs_no_settings_and_every_later_one_opens_the_same(tmp_path: Path) -> None:
    filled(open_vault(settings(tmp_path)))
    folder = tmp_path / "state" / "vault"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes.pop("vault") == 0o700
    assert {"broker.db", "kek"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert value(open_vault(settings(tmp_path))) == "value-1-long"


def test_003_32_a_vault_in_either_database_is_opened_again(tmp_path: Path, database_url: str) -> None:
    one = settings(tmp_path, url=database_url)
    filled(open_vault(one))
    assert value(open_vault(one)) == "value-1-long"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: (d / "kek").unlink(), "kek: No such file or directory; restore it from a backup"),
        (lambda d: (d / "kek").chmod(0o640), "mode 0640 lets others read it; run: chmod 600"),
        (lambda d: (d / "kek").write_text("0" * 64), "does not belong to this database"),
        (lambda d: (d / "kek").write_text("nonsense"), "not a key (64 hexadecimal digits)"),
        (lambda d: (d / "broker.db").write_bytes(b"nonsense" * 999), "restore the file"),
        (lambda d: (d / "broker.db").chmod(0o644), "run: chmod 600"),
        (lambda d: d.chmod(0o755), "chmod 700"),
        (lambda d: d.rename(d.parent / "v") and d.symlink_to("v"), "not a directory of uid"),
        (lambda d: d.rename(d.parent / "v") and d.write_text(""), "File exists; mend that"),
    ],
    ids=["no-key", "loose-key", "other-key", "bad-key", "bad-database", "loose-database", "loose-folder",
         "link", "file"],
)  # fmt: skip
def test_a_vault_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    filled(open_vault(settings(tmp_path))).close()
    spoil(tmp_path / "state" / "vault")
    assert words in refused(settings(tmp_path))


def test_a_lost_key_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    filled(open_vault(settings(tmp_path)))
    key = tmp_path / "state" / "vault" / "kek"
    kept = key.read_text()
    key.unlink()
    refused(settings(tmp_path))
    assert not key.exists()
    key.write_text(kept)
    key.chmod(0o600)
    assert value(open_vault(settings(tmp_path))) == "value-1-long"


def test_a_key_file_that_the_operator_brought_is_taken(tmp_path: Path) -> None:
    key = tmp_path / "brought"
    key.write_text("5a" * 32 + "\n")
    key.chmod(0o600)
    filled(open_vault(settings(tmp_path, key_file=key)))
    assert key.read_text() == "5a" * 32 + "\n"
    assert value(open_vault(settings(tmp_path, key_file=key))) == "value-1-long"


def test_a_crash_between_key_and_database_is_mended_by_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "vault"
    open_vault(settings(tmp_path)).close()
    for path in folder.iterdir():
        if path.name != "kek":
            path.unlink()
    filled(open_vault(settings(tmp_path)))
    assert value(open_vault(settings(tmp_path))) == "value-1-long"


def test_003_32_a_new_key_file_opens_what_the_old_one_did(tmp_path: Path, database_url: str) -> None:
    one = settings(tmp_path, url=database_url)
    before = filled(open_vault(one))
    old = one.vault_key_file.read_text()
    assert change_key_file(before.keyring, one.vault_key_file) == 1
    assert value(before) == "value-1-long"
    before.close()
    assert one.vault_key_file.read_text() != old
    assert not list(one.vault_dir.glob("kek.*"))
    assert stat.S_IMODE(one.vault_key_file.stat().st_mode) == 0o600
    assert value(open_vault(one)) == "value-1-long"
    one.vault_key_file.write_text(old)
    assert "does not belong to this database" in refused(one)


@pytest.mark.parametrize("committed", [False, True])
def test_003_32_a_change_that_was_interrupted_is_finished_by_the_next_start(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    one = settings(tmp_path, url=database_url)
    vault = filled(open_vault(one))

    def lost(*_arguments: object) -> None:
        raise VaultError("vault-unreadable", "the connection is lost; mend that")

    with monkeypatch.context() as patch:
        patch.setattr(vault.keyring, "_hold" if committed else "_change", lost)
        with pytest.raises(VaultError, match="the connection is lost"):
            change_key_file(vault.keyring, one.vault_key_file)
    assert (one.vault_dir / "kek.next").exists()
    if committed:
        with pytest.raises(VaultError, match="vault-locked"):
            change_key_file(vault.keyring, one.vault_key_file)  # would overwrite the only key
    vault.close()
    again = open_vault(one)
    assert value(again) == "value-1-long"
    assert (one.vault_dir / "kek.next").exists() is not committed
    assert change_key_file(again.keyring, one.vault_key_file) == 1
    again.close()
    assert value(open_vault(one)) == "value-1-long"
    assert not (one.vault_dir / "kek.next").exists()


def test_a_key_that_cannot_take_its_place_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = settings(tmp_path)
    vault = filled(open_vault(one))

    def full(_self: Path, _target: Path) -> Path:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(VaultError, match="Read-only file system; put kek"):
            change_key_file(vault.keyring, one.vault_key_file)
    vault.close()
    assert value(open_vault(one)) == "value-1-long"


def test_a_passphrase_file_opens_at_each_start(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n")
    file.chmod(0o600)
    one = settings(tmp_path, unlock="passphrase_file", passphrase_file=file)
    filled(open_vault(one))
    assert value(open_vault(one)) == "value-1-long"
    assert not (tmp_path / "state" / "vault" / "kek").exists()
    file.write_text("seven owls read music\n")
    assert "the passphrase is wrong" in refused(one, "wrong-passphrase")
    file.chmod(0o644)
    assert "run: chmod 600" in refused(one)
    file.unlink()
    assert "put the passphrase there" in refused(one)


def test_with_a_passphrase_that_is_asked_for_the_vault_stays_locked(tmp_path: Path) -> None:
    one = settings(tmp_path, unlock="passphrase")
    vault = open_vault(one)
    assert vault.keyring.state() is State.NEW
    vault.keyring.choose(PASSPHRASE)
    filled(vault)
    vault = open_vault(one)
    assert vault.keyring.state() is State.LOCKED
    with pytest.raises(VaultError, match="vault-locked"):
        value(vault)
    vault.keyring.unlock(PASSPHRASE)
    assert value(vault) == "value-1-long"


def test_settings_of_another_kind_of_key_are_refused(tmp_path: Path) -> None:
    open_vault(settings(tmp_path))
    assert "mend vault.unlock" in refused(settings(tmp_path, unlock="passphrase"))
    other = tmp_path / "other"
    open_vault(settings(other, unlock="passphrase")).keyring.choose(PASSPHRASE)
    (other / "state" / "vault" / "kek").write_text("5a" * 32)
    (other / "state" / "vault" / "kek").chmod(0o600)
    assert "of the kind passphrase, not key-file; set vault.unlock" in refused(settings(other))


def test_a_url_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    assert "write sqlite:////absolute/path" in refused(settings(tmp_path, url="nonsense"))


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert "mend that, then start again" in refused(settings(tmp_path))


def test_randomness_is_the_callers(tmp_path: Path) -> None:
    asked: list[int] = []

    def counted(number: int) -> bytes:
        asked.append(number)
        return secrets.token_bytes(number)

    open_vault(settings(tmp_path), counted)
    assert asked[0] == 32
    assert Source.KEY_FILE.value == "key-file"
