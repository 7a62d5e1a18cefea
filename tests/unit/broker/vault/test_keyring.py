"""appliance.broker.vault.keyring: the right key opens, a change is whole or not at all."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, delete, select, update

from appliance.broker.database import reading
from appliance.broker.vault import kek as keys
from appliance.broker.vault import keyring as module
from appliance.broker.vault.envelope import KEY, Damaged, LocalKey, Place, bound
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.keyring import Source, State, at, described
from appliance.broker.vault.kinds import StaticSecret
from appliance.broker.vault.tables import keyring_table, secrets_table
from appliance.broker.vault.vault import Vault

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
RIGHT, WRONG = "seven owls read maps", "seven owls read music"
OURS = ("acme", "openai-acme", "key")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that Argon2id is allowed to cost."""
    monkeypatch.setattr(keys, "new_parameters", lambda random: keys.Argon2(random(16), 1, 19 * 1024, 1))


@pytest.fixture
def vault(database: Engine) -> Vault:
    return Vault(database)


def local(octet: bytes = b"k") -> LocalKey:
    return LocalKey(bytearray(octet * KEY), secrets.token_bytes)


def refused(code: str, act: Callable[[], object]) -> str:
    with pytest.raises(VaultError) as caught:
        act()
    assert caught.value.code == code, caught.value.detail
    assert "\n" not in caught.value.detail
    for passphrase in (RIGHT, WRONG):
        assert passphrase not in str(caught.value)
    return caught.value.detail


def put(vault: Vault, *values: str) -> None:
    for text in values:
        vault.put(*OURS, StaticSecret(value=SecretStr(text)), NOW)


def value(vault: Vault, version: int | None = None) -> str:
    with vault.reveal(*OURS, version) as material:
        assert isinstance(material, StaticSecret)
        return material.value.get_secret_value()


# --- a passphrase ------------------------------------------------------------------------------------------


def test_003_32_a_chosen_passphrase_opens_the_vault_from_then_on(vault: Vault, database: Engine) -> None:
    assert vault.keyring.state() is State.NEW
    assert "choose one: egress vault unlock" in refused("vault-locked", lambda: vault.keyring.unlock(RIGHT))
    vault.keyring.choose(RIGHT)
    assert vault.keyring.state() is State.OPEN
    put(vault, "value-1-long")
    again = Vault(database)
    assert again.keyring.state() is State.LOCKED
    again.keyring.unlock(RIGHT)
    assert again.keyring.state() is State.OPEN
    assert value(again) == "value-1-long"


def test_a_wrong_passphrase_opens_nothing_and_locks_nothing(vault: Vault, database: Engine) -> None:
    vault.keyring.choose(RIGHT)
    put(vault, "value-1-long")
    again = Vault(database)
    refused("wrong-passphrase", lambda: again.keyring.unlock(WRONG))
    assert again.keyring.state() is State.LOCKED
    refused("vault-locked", lambda: value(again))
    refused("wrong-passphrase", lambda: vault.keyring.unlock(WRONG))
    assert value(vault) == "value-1-long"


def test_parameters_and_salt_are_in_the_database_and_the_passphrase_is_not(
    vault: Vault, database: Engine
) -> None:
    vault.keyring.choose(RIGHT)
    with reading(database) as connection:
        row = connection.execute(select(keyring_table)).one()
    assert (row.source, row.passes, row.memory, row.lanes, len(row.salt)) == (
        "passphrase",
        1,
        19 * 1024,
        1,
        16,
    )
    assert RIGHT.encode() not in b"".join(field for field in row if isinstance(field, bytes))


@pytest.mark.parametrize("column", ["salt", "passes", "key_id", "proof"])
def test_a_flipped_bit_of_the_keyring_is_not_opened(vault: Vault, database: Engine, column: str) -> None:
    vault.keyring.choose(RIGHT)
    with database.begin() as connection:
        found = connection.execute(select(keyring_table.c[column])).scalar_one()
        flipped: Any
        if isinstance(found, int):
            flipped = found ^ 2
        elif isinstance(found, str):
            flipped = ("1" if found[0] == "0" else "0") + found[1:]
        else:
            flipped = bytes([found[0] ^ 1]) + found[1:]
        connection.execute(update(keyring_table).values({column: flipped}))
    refused("wrong-passphrase", lambda: Vault(database).keyring.unlock(RIGHT))


@pytest.mark.parametrize(
    "values", [{"source": "else"}, {"memory": 2**31 - 1}, {"passes": None}, {"salt": b"x"}]
)
def test_a_keyring_that_makes_no_sense_is_unreadable(
    vault: Vault, database: Engine, values: dict[str, object]
) -> None:
    vault.keyring.choose(RIGHT)
    with database.begin() as connection:
        connection.execute(update(keyring_table).values(values))
    assert "restore the database" in refused("vault-unreadable", vault.keyring.state)
    refused("vault-unreadable", lambda: Vault(database).keyring.unlock(RIGHT))


def test_a_weak_first_passphrase_is_not_taken(vault: Vault) -> None:
    refused("wrong-passphrase", lambda: vault.keyring.choose("short"))
    assert vault.keyring.state() is State.NEW


def test_a_passphrase_is_chosen_once(vault: Vault, database: Engine) -> None:
    vault.keyring.choose(RIGHT)
    assert "has a key already" in refused("vault-unreadable", lambda: Vault(database).keyring.choose(WRONG))
    Vault(database).keyring.unlock(RIGHT)


def test_a_lost_keyring_does_not_make_a_new_vault_of_old_secrets(vault: Vault, database: Engine) -> None:
    vault.keyring.choose(RIGHT)
    put(vault, "value-1-long")
    with database.begin() as connection:
        connection.execute(delete(keyring_table))
    again = Vault(database)
    assert "lost its keyring" in refused("vault-unreadable", lambda: again.keyring.choose(RIGHT))
    assert "lost its keyring" in refused(
        "vault-unreadable", lambda: again.keyring.use(local(), Source.KEY_FILE)
    )


# --- a key file, and one that never leaves its token --------------------------------------------------------


def test_003_32_the_first_key_becomes_the_vaults(vault: Vault, database: Engine) -> None:
    vault.keyring.use(local(), Source.KEY_FILE)
    put(vault, "value-1-long")
    again = Vault(database)
    said = refused("vault-unreadable", lambda: again.keyring.use(local(b"x"), Source.KEY_FILE))
    assert "the key-file does not belong to this database" in said
    again.keyring.use(local(), Source.KEY_FILE)
    assert value(again) == "value-1-long"


def test_a_vault_of_one_source_is_not_opened_by_another(vault: Vault, database: Engine) -> None:
    vault.keyring.use(local(), Source.KEY_FILE)
    assert "of the kind key-file, not passphrase" in refused(
        "vault-unreadable", lambda: Vault(database).keyring.unlock(RIGHT)
    )
    said = refused("vault-unreadable", lambda: Vault(database).keyring.use(local(), Source.EXTERNAL))
    assert "the vault's key is of the kind key-file, not external" in said


class Token:
    """Stands for a PKCS#11 token or a KMS: keys go in and come out, its own never does."""

    def __init__(self) -> None:
        self._inner = local(b"t")
        self.asked: list[str] = []
        self.away = False

    def wrap(self, data_key: bytes | bytearray, associated: bytes) -> bytes:
        self._ask("wrap")
        return b"token:" + self._inner.wrap(data_key, associated)

    def unwrap(self, wrapped: bytes, associated: bytes) -> bytearray:
        self._ask("unwrap")
        if not wrapped.startswith(b"token:"):
            raise Damaged
        return self._inner.unwrap(wrapped[6:], associated)

    def close(self) -> None:
        self.asked.append("close")

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise VaultError("vault-unreadable", "the token does not answer; plug it in")


def test_003_32_a_token_keeps_its_key_to_itself(vault: Vault, database: Engine) -> None:
    token = Token()
    vault.keyring.use(token, Source.EXTERNAL)
    put(vault, "value-1-long")
    assert value(vault) == "value-1-long"
    assert token.asked == ["wrap", "wrap", "unwrap"]
    token.away = True
    assert "plug it in" in refused("vault-unreadable", lambda: value(vault))
    refused("vault-unreadable", lambda: put(vault, "value-2-long"))
    token.away = False
    assert vault.versions(*OURS) == (1,)
    vault.keyring.lock()
    assert token.asked[-1] == "close"
    again = Vault(database)
    again.keyring.use(Token(), Source.EXTERNAL)
    assert value(again) == "value-1-long"


# --- a change ------------------------------------------------------------------------------------------------


def test_003_32_after_a_change_only_the_new_key_opens(vault: Vault, database: Engine) -> None:
    vault.keyring.use(local(), Source.KEY_FILE)
    put(vault, "value-1-long", "value-2-long")
    with reading(database) as connection:
        before = connection.execute(select(secrets_table).order_by(secrets_table.c.version)).all()
    assert vault.keyring.change_passphrase(RIGHT) == 2
    assert [value(vault, version) for version in (1, 2)] == ["value-1-long", "value-2-long"]
    with reading(database) as connection:
        after = connection.execute(select(secrets_table).order_by(secrets_table.c.version)).all()
    for old, new in zip(before, after, strict=True):
        assert old.sealed == new.sealed
        with pytest.raises(Damaged):
            local().unwrap(new.wrapped, Place(*OURS, new.version, "static").bound("data key"))
    refused("vault-unreadable", lambda: Vault(database).keyring.use(local(), Source.KEY_FILE))
    again = Vault(database)
    again.keyring.unlock(RIGHT)
    assert value(again) == "value-2-long"
    assert again.keyring.change(local(b"n"), Source.KEY_FILE) == 2
    refused("vault-unreadable", lambda: Vault(database).keyring.unlock(RIGHT))


@pytest.mark.parametrize("after", [0, 1, 2])
def test_003_32_a_change_that_fails_changes_nothing(
    vault: Vault, database: Engine, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    vault.keyring.use(local(), Source.KEY_FILE)
    put(vault, "value-1-long", "value-2-long", "value-3-long")
    rewrap, calls = module.rewrap, 0

    def failing(*arguments: Any) -> bytes:
        nonlocal calls
        calls += 1
        if calls > after:
            raise VaultError("vault-unreadable", "the token does not answer; plug it in")
        return rewrap(*arguments)

    monkeypatch.setattr(module, "rewrap", failing)
    refused("vault-unreadable", lambda: vault.keyring.change_passphrase(RIGHT))
    assert [value(vault, version) for version in (1, 2, 3)] == [
        "value-1-long",
        "value-2-long",
        "value-3-long",
    ]
    again = Vault(database)
    again.keyring.use(local(), Source.KEY_FILE)
    assert value(again, 1) == "value-1-long"


def test_a_damaged_secret_is_named_and_stops_a_change(vault: Vault, database: Engine) -> None:
    vault.keyring.use(local(), Source.KEY_FILE)
    put(vault, "value-1-long", "value-2-long")
    with database.begin() as connection:
        connection.execute(
            update(secrets_table).where(secrets_table.c.version == 2).values(wrapped=b"x" * 60)
        )
    said = refused("secret-damaged", lambda: vault.keyring.change_passphrase(RIGHT))
    assert "version 2 of openai-acme/key of tenant acme does not open; remove it" in said
    assert value(vault, 1) == "value-1-long"
    vault.remove(*OURS, version=2)
    assert vault.keyring.change_passphrase(RIGHT) == 1


def test_a_locked_vault_keeps_its_key(vault: Vault) -> None:
    vault.keyring.choose(RIGHT)
    vault.keyring.lock()
    refused("vault-locked", lambda: vault.keyring.change_passphrase(WRONG))
    vault.keyring.unlock(RIGHT)


def test_another_process_changed_the_key_then_ours_is_no_longer_used(vault: Vault, database: Engine) -> None:
    vault.keyring.use(local(), Source.KEY_FILE)
    put(vault, "value-1-long")
    other = Vault(database)
    other.keyring.use(local(), Source.KEY_FILE)
    other.keyring.change(local(b"n"), Source.KEY_FILE)
    assert vault.keyring.state() is State.LOCKED
    refused("vault-locked", lambda: value(vault))
    refused("vault-locked", lambda: put(vault, "value-2-long"))


# --- keys in memory -------------------------------------------------------------------------------------------


def test_a_key_is_overwritten_when_its_last_user_is_done(vault: Vault) -> None:
    buffer = bytearray(b"k" * KEY)
    vault.keyring.use(LocalKey(buffer, secrets.token_bytes), Source.KEY_FILE)
    with vault.keyring.using(), vault.keyring.using():
        vault.keyring.lock()
        assert any(buffer)
    assert not any(buffer)


def test_000_38_derived_keys_that_are_not_used_are_overwritten(
    vault: Vault, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    derived: list[bytearray] = []
    derive = keys.derive

    def spy(*arguments: Any) -> bytearray:
        derived.append(derive(*arguments))
        return derived[-1]

    monkeypatch.setattr(keys, "derive", spy)
    vault.keyring.choose(RIGHT)
    refused("wrong-passphrase", lambda: vault.keyring.unlock(WRONG))
    refused("vault-unreadable", lambda: vault.keyring.choose(WRONG))
    vault.keyring.change_passphrase(WRONG)
    assert [any(key) for key in derived] == [False, False, False, True]


def test_calls_in_threads_go_on_during_a_change(vault: Vault) -> None:
    vault.keyring.use(local(), Source.KEY_FILE)
    put(vault, "value-1-long")
    outcomes: list[str] = []
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            try:
                outcomes.append(value(vault))
            except VaultError as error:
                outcomes.append(error.code)

    thread = threading.Thread(target=use)
    thread.start()
    for octet in (b"a", b"b", b"c", b"d"):
        vault.keyring.change(local(octet), Source.KEY_FILE)
    done.set()
    thread.join()
    assert set(outcomes) <= {"value-1-long", "vault-locked"}
    assert value(vault) == "value-1-long"


def test_a_place_for_people_and_for_the_database() -> None:
    place = Place(*OURS, 2, "static")
    assert described(place) == "version 2 of openai-acme/key of tenant acme"
    assert len(at(place)) == 4
    assert bound("a") != bound("b")
