"""appliance.broker.vault.vault: kept sealed, opened for one use, on both databases.

Long, for each way to damage a row is tried on each column and on both databases.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, select, update
from sqlalchemy.exc import OperationalError
from twisted.internet.defer import CancelledError, Deferred

from appliance.broker.database import reading
from appliance.broker.vault import vault as module
from appliance.broker.vault.envelope import KEY, LocalKey, Place, Sealed, seal
from appliance.broker.vault.errors import VaultError
from appliance.broker.vault.keyring import Source
from appliance.broker.vault.kinds import Material, OAuthRefresh, StaticSecret
from appliance.broker.vault.tables import secrets_table
from appliance.broker.vault.vault import Stored, Vault

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
CANARY = "canary-9c1f55e7aa"
OURS = ("acme", "openai-acme", "key")


def static(value: str = CANARY) -> StaticSecret:
    return StaticSecret(value=SecretStr(value))


@pytest.fixture
def vault(database: Engine) -> Vault:
    vault = Vault(database)
    vault.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
    return vault


def value(vault: Vault, *place: Any) -> str:
    with vault.reveal(*place) as material:
        assert isinstance(material, StaticSecret)
        return material.value.get_secret_value()


def refused(code: str, act: Callable[[], object]) -> str:
    with pytest.raises(VaultError) as caught:
        act()
    assert caught.value.code == code, caught.value.detail
    assert "\n" not in caught.value.detail
    assert CANARY not in str(caught.value)
    return caught.value.detail


@pytest.fixture
def buffers(monkeypatch: pytest.MonkeyPatch) -> list[bytearray]:
    """Every buffer into which something was decrypted."""
    seen: list[bytearray] = []
    unseal = module.unseal

    def spy(*arguments: Any) -> bytearray:
        seen.append(unseal(*arguments))
        assert any(seen[-1])
        return seen[-1]

    monkeypatch.setattr(module, "unseal", spy)
    return seen


# --- versions ---------------------------------------------------------------------------------------------


def test_003_32_what_was_put_is_revealed_to_its_place_alone(vault: Vault) -> None:
    assert vault.put(*OURS, static(), NOW) == 1
    assert value(vault, *OURS) == CANARY
    for other in (("other", *OURS[1:]), ("acme", "openai", "key"), ("acme", "openai-acme", "key2")):
        assert "has no secret" in refused("unknown-secret", lambda other=other: value(vault, *other))  # type: ignore[misc]


def test_003_32_a_new_version_leaves_the_old_ones(vault: Vault) -> None:
    assert [vault.put(*OURS, static(f"value-{n}-long"), NOW) for n in (1, 2, 3)] == [1, 2, 3]
    assert vault.versions(*OURS) == (1, 2, 3)
    assert value(vault, *OURS) == "value-3-long"
    assert value(vault, *OURS, 1) == "value-1-long"
    assert "of version 4" in refused("unknown-secret", lambda: value(vault, *OURS, 4))


@pytest.mark.parametrize(("keep", "left"), [(0, (4,)), (1, (3, 4)), (2, (2, 3, 4)), (9, (1, 2, 3, 4))])
def test_003_32_rotation_keeps_as_many_old_versions_as_asked(vault: Vault, keep: int, left: object) -> None:
    for n in (1, 2, 3):
        vault.put(*OURS, static(f"value-{n}-long"), NOW)
    vault.put("acme", "other", "key", static("untouched"), NOW)
    assert vault.rotate(*OURS, static("value-4-long"), NOW, keep=keep) == 4
    assert vault.versions(*OURS) == left
    assert value(vault, *OURS) == "value-4-long"
    assert vault.versions("acme", "other", "key") == (1,)


def test_what_does_not_exist_is_not_rotated(vault: Vault) -> None:
    refused("unknown-secret", lambda: vault.rotate(*OURS, static(), NOW))
    refused("unknown-secret", lambda: vault.versions(*OURS))
    assert vault.names() == []


def test_003_32_removed_is_gone(vault: Vault) -> None:
    for n in (1, 2, 3):
        vault.put(*OURS, static(f"value-{n}-long"), NOW)
    assert vault.remove(*OURS, version=3) == 1
    assert value(vault, *OURS) == "value-2-long"
    assert vault.remove(*OURS) == 2
    refused("unknown-secret", lambda: value(vault, *OURS))
    refused("unknown-secret", lambda: vault.remove(*OURS))
    refused("unknown-secret", lambda: vault.remove(*OURS, version=1))


def test_003_32_names_say_everything_but_the_value(vault: Vault) -> None:
    vault.put(*OURS, static(), NOW)
    vault.put(*OURS, static(), NOW + timedelta(days=1))
    refresh = OAuthRefresh(
        token_url="https://login.example.com/token", client_id="me", refresh_token=SecretStr("refresh-canary")
    )
    vault.put("beta", "slack", "r", refresh, NOW)
    ours, theirs = vault.names()
    assert (ours.tenant, ours.integration, ours.name, ours.kind) == (*OURS, "static")
    assert (ours.version, ours.versions, ours.created) == (2, (1, 2), NOW + timedelta(days=1))
    assert (theirs.kind, theirs.version) == ("oauth2-refresh", 1)
    assert vault.names("beta") == [theirs]
    assert "canary" not in repr(vault.names())


@pytest.mark.parametrize(
    "place",
    [("Acme", "i", "n"), ("", "i", "n"), ("acme", "", "n"), ("acme", "a/b", "n"), ("acme", "i", ""),
     ("acme", "i", CANARY + "="), ("acme", "i", "n\n"), ("acme", "i", "x" * 65), ("acme", "i", ".n")],
)  # fmt: skip
def test_a_name_that_is_none_is_not_quoted(vault: Vault, place: tuple[str, str, str]) -> None:
    refused("invalid-name", lambda: vault.put(*place, static(), NOW))
    refused("invalid-name", lambda: value(vault, *place))
    refused("invalid-name", lambda: vault.remove(*place))
    refused("invalid-name", lambda: vault.rotate(*place, static(), NOW))
    refused("invalid-name", lambda: vault.versions(*place))


def test_003_32_two_writers_take_two_numbers(vault: Vault) -> None:
    def put() -> None:
        for _ in range(5):
            vault.put(*OURS, static(), NOW)

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vault.versions(*OURS) == tuple(range(1, 16))


def test_003_32_a_rotation_that_expects_a_version_takes_the_place_of_that_one_alone(vault: Vault) -> None:
    vault.put(*OURS, static("value-1-long"), NOW)
    first = vault.find(*OURS).stored
    assert vault.rotate(*OURS, static("value-2-long"), NOW, expected=first) == 2
    refused("secret-replaced", lambda: vault.rotate(*OURS, static("value-3-long"), NOW, expected=first))
    assert vault.versions(*OURS) == (1, 2)
    assert value(vault, *OURS) == "value-2-long"
    vault.remove(*OURS)
    refused("unknown-secret", lambda: vault.rotate(*OURS, static(), NOW, expected=first))
    assert vault.names() == []


def test_003_32_a_number_that_comes_again_is_another_version(vault: Vault) -> None:
    vault.put(*OURS, static("value-1-long"), NOW)
    removed = vault.find(*OURS).stored
    vault.remove(*OURS)
    assert vault.put(*OURS, static("value-1-long"), NOW) == removed.version
    refused("secret-replaced", lambda: vault.rotate(*OURS, static("of-the-old"), NOW, expected=removed))
    assert value(vault, *OURS) == "value-1-long"


def test_003_32_of_many_that_rotate_one_version_at_once_one_does(vault: Vault) -> None:
    vault.put(*OURS, static("value-0-long"), NOW)
    for number in range(1, 6):
        expected, start = vault.find(*OURS).stored, threading.Barrier(4)
        done: list[str] = []

        def rotate(
            text: str, start: threading.Barrier = start, expected: Stored = expected, done: list[str] = done
        ) -> None:
            start.wait(30)
            try:
                vault.rotate(*OURS, static(text), NOW, keep=9, expected=expected)
            except VaultError as error:
                done.append(error.code)
            else:
                done.append(text)

        texts = [f"value-{number}-{name}" for name in "abcd"]
        threads = [threading.Thread(target=rotate, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = set(done) - {"secret-replaced"}
        assert len(done) == 4
        assert done.count(winner) == 1
        assert value(vault, *OURS) == winner
        assert vault.versions(*OURS) == tuple(range(1, number + 2))


def test_003_32_a_rotation_and_a_removal_at_once_leave_nothing(vault: Vault) -> None:
    for _ in range(8):
        vault.put(*OURS, static(), NOW)
        expected, start = vault.find(*OURS).stored, threading.Barrier(2)
        answers: list[str] = []

        def rotate(
            start: threading.Barrier = start, expected: Stored = expected, answers: list[str] = answers
        ) -> None:
            start.wait(30)
            try:
                vault.rotate(*OURS, static("of-a-provider"), NOW, expected=expected)
            except VaultError as error:
                answers.append(error.code)

        thread = threading.Thread(target=rotate)
        thread.start()
        start.wait(30)
        vault.remove(*OURS)
        thread.join()
        assert vault.names() == []
        assert set(answers) <= {"unknown-secret"}


def test_003_32_a_second_process_finds_them(vault: Vault, database: Engine) -> None:
    vault.put(*OURS, static(), NOW)
    again = Vault(database)
    refused("vault-locked", lambda: value(again, *OURS))
    again.keyring.use(LocalKey(bytearray(b"k" * KEY), secrets.token_bytes), Source.KEY_FILE)
    assert value(again, *OURS) == CANARY


# --- at rest ----------------------------------------------------------------------------------------------


def everything(database: Engine) -> bytes:
    """All that the database holds, and for SQLite its files."""
    with reading(database) as connection:
        rows = repr([tuple(row) for row in connection.execute(select(secrets_table))]).encode()
        rows += b"".join(row.wrapped + row.sealed for row in connection.execute(select(secrets_table)))
    if database.url.database and database.dialect.name == "sqlite":
        folder = Path(database.url.database).parent
        rows += b"".join(file.read_bytes() for file in folder.iterdir())
    return rows


def test_000_37_neither_secrets_nor_refresh_tokens_are_in_the_database(
    vault: Vault, database: Engine
) -> None:
    refresh = OAuthRefresh(
        token_url="https://login.example.com/token",
        client_id="me",
        client_secret=SecretStr("client-" + CANARY),
        refresh_token=SecretStr("refresh-" + CANARY),
    )
    vault.put(*OURS, static(), NOW)
    vault.put("acme", "slack", "refresh", refresh, NOW)
    vault.rotate(*OURS, static(CANARY * 50), NOW, keep=0)
    held = everything(database)
    assert len(held) > 1000
    for form in (CANARY.encode(), base64.b64encode(CANARY.encode())[:16], CANARY.encode().hex().encode()):
        assert form not in held


@pytest.mark.parametrize("column", ["version", "kind", "wrapped", "sealed"])
def test_000_37_a_flipped_bit_of_a_row_is_not_opened(vault: Vault, database: Engine, column: str) -> None:
    vault.put(*OURS, static(), NOW)
    with database.begin() as connection:
        found = connection.execute(select(secrets_table.c[column])).scalar_one()
        flipped: object
        if isinstance(found, int):
            flipped = found ^ 2
        elif isinstance(found, str):
            flipped = chr(ord(found[0]) ^ 1) + found[1:]
        else:
            flipped = found[:20] + bytes([found[20] ^ 1]) + found[21:]
        connection.execute(update(secrets_table).values({column: flipped}))
    assert "does not open" in refused("secret-damaged", lambda: value(vault, *OURS))


@pytest.mark.parametrize(
    "move", [{"tenant": "other"}, {"integration": "anthropic"}, {"name": "key2"}, {"version": 7}]
)
def test_000_37_a_row_of_another_place_is_not_opened(
    vault: Vault, database: Engine, move: dict[str, Any]
) -> None:
    vault.put(*OURS, static(), NOW)
    with database.begin() as connection:
        connection.execute(update(secrets_table).values(move))
    place = {"tenant": OURS[0], "integration": OURS[1], "name": OURS[2]} | move
    place.pop("version", None)
    refused("secret-damaged", lambda: value(vault, *place.values()))


def test_000_37_two_tenants_values_cannot_be_swapped(vault: Vault, database: Engine) -> None:
    vault.put(*OURS, static("ours-is-this"), NOW)
    vault.put("other", *OURS[1:], static("theirs-is-this"), NOW)
    with database.begin() as connection:
        ours, theirs = connection.execute(select(secrets_table).order_by(secrets_table.c.tenant)).all()
        for row, octets in ((ours, theirs), (theirs, ours)):
            connection.execute(
                update(secrets_table)
                .where(secrets_table.c.tenant == row.tenant)
                .values(wrapped=octets.wrapped, sealed=octets.sealed)
            )
    refused("secret-damaged", lambda: value(vault, *OURS))
    refused("secret-damaged", lambda: value(vault, "other", *OURS[1:]))


@pytest.mark.parametrize(
    "document",
    [
        b"no json",
        b'{"kind":"static"}',
        json.dumps({"kind": "hmac", "key": CANARY}).encode(),
        json.dumps({"kind": "static", "value": CANARY, "more": 1}).encode(),
    ],
)
def test_what_is_sealed_and_no_material_is_damaged(
    vault: Vault, database: Engine, buffers: list[bytearray], document: bytes
) -> None:
    vault.put(*OURS, static(), NOW)
    kek = LocalKey(bytearray(b"k" * KEY), secrets.token_bytes)
    forged: Sealed = seal(kek, Place(*OURS, 1, "static"), document, secrets.token_bytes)
    with database.begin() as connection:
        connection.execute(update(secrets_table).values(wrapped=forged.wrapped, sealed=forged.sealed))
    refused("secret-damaged", lambda: value(vault, *OURS))
    assert not any(buffers[0])


def test_text_where_octets_should_be_is_damaged(vault: Vault, database: Engine) -> None:
    vault.put(*OURS, static(), NOW)
    with database.begin() as connection:
        connection.exec_driver_sql("UPDATE vault_secrets SET sealed = 'text'")
    refused("secret-damaged", lambda: value(vault, *OURS))


# --- only while it is used --------------------------------------------------------------------------------


def test_000_38_decryptions_are_counted_and_nothing_but_revealing_makes_one(vault: Vault) -> None:
    vault.put(*OURS, static(), NOW)
    vault.rotate(*OURS, static(), NOW)
    vault.names()
    vault.versions(*OURS)
    found = vault.find(*OURS)
    assert (vault.reads, vault.decryptions) == (1, 0)
    with vault.opened(found):
        assert (vault.reads, vault.decryptions) == (1, 1)
    value(vault, *OURS)
    assert (vault.reads, vault.decryptions) == (2, 2)
    vault.remove(*OURS)
    assert (vault.reads, vault.decryptions) == (2, 2)


def test_001_13_001_14_a_refused_call_reads_and_decrypts_nothing_even_where_the_row_is_damaged(
    vault: Vault, database: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the broker asserts of a blocked call, asserted of what it has to assert it with."""
    vault.put(*OURS, static(), NOW)
    with database.begin() as connection:
        connection.execute(update(secrets_table).values(sealed=b"damaged" * 9))

    def spy(*_arguments: object) -> bytearray:
        raise AssertionError("decrypted")

    monkeypatch.setattr(module, "unseal", spy)
    vault.names("acme")
    refused("invalid-name", lambda: value(vault, "acme", "openai/acme", "key"))
    vault.keyring.lock()
    refused("vault-locked", lambda: value(vault, *OURS))
    assert (vault.reads, vault.decryptions) == (0, 0)


def test_000_38_the_buffer_is_cleared_after_success(vault: Vault, buffers: list[bytearray]) -> None:
    vault.put(*OURS, static(), NOW)
    with vault.reveal(*OURS) as material:
        assert CANARY.encode() in buffers[0]
        assert CANARY not in repr(material)
    assert len(buffers) == 1
    assert not any(buffers[0])
    assert len(buffers[0]) > len(CANARY)


def test_000_38_the_buffer_is_cleared_after_a_failure(vault: Vault, buffers: list[bytearray]) -> None:
    vault.put(*OURS, static(), NOW)
    with pytest.raises(RuntimeError), vault.reveal(*OURS):
        raise RuntimeError
    assert not any(buffers[0])


def test_000_38_the_buffer_is_cleared_after_a_cancel(vault: Vault, buffers: list[bytearray]) -> None:
    vault.put(*OURS, static(), NOW)
    never: Deferred[None] = Deferred()

    async def use() -> None:
        with vault.reveal(*OURS):
            await never

    call = Deferred.fromCoroutine(use())
    assert CANARY.encode() in buffers[0]
    call.cancel()
    assert not any(buffers[0])
    failures: list[Any] = []
    call.addErrback(failures.append)
    assert failures[0].check(CancelledError)


def test_000_38_the_buffer_is_cleared_when_its_user_is_forgotten(
    vault: Vault, buffers: list[bytearray]
) -> None:
    vault.put(*OURS, static(), NOW)

    def use() -> Iterator[Material]:
        with vault.reveal(*OURS) as material:
            yield material

    using = use()
    next(using)
    assert any(buffers[0])
    del using
    assert not any(buffers[0])


def test_000_38_what_is_open_without_a_block_is_cleared_by_its_end_or_when_it_is_forgotten(
    vault: Vault, buffers: list[bytearray]
) -> None:
    vault.put(*OURS, static(), NOW)
    found = vault.find(*OURS)
    opened, forgotten = vault.open(found), vault.open(found)
    assert CANARY.encode() in buffers[0]
    assert CANARY.encode() in buffers[1]
    opened.close()
    opened.close()
    assert not any(buffers[0])
    del forgotten
    assert not any(buffers[1])


def test_000_38_what_cannot_be_read_is_cleared_as_well(
    vault: Vault, buffers: list[bytearray], monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.put(*OURS, static(), NOW)
    found = vault.find(*OURS)
    monkeypatch.setattr(module, "parse_material", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        vault.open(found)
    assert len(buffers) == 1
    assert not any(buffers[0])


def test_what_is_put_is_cleared_too(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytearray] = []
    sealing = module.seal

    def spy(*arguments: Any) -> Sealed:
        seen.append(arguments[2])
        assert CANARY.encode() in seen[-1]
        return sealing(*arguments)

    monkeypatch.setattr(module, "seal", spy)
    vault.put(*OURS, static(), NOW)
    assert not any(seen[0])


# --- locked, lost, unreadable ------------------------------------------------------------------------------


def test_a_locked_vault_reveals_and_takes_nothing_but_lists_and_removes(vault: Vault) -> None:
    vault.put(*OURS, static(), NOW)
    found = vault.find(*OURS)
    vault.keyring.lock()
    for act in (
        lambda: value(vault, *OURS),
        lambda: vault.put(*OURS, static(), NOW),
        lambda: vault.rotate(*OURS, static(), NOW),
        lambda: vault.opened(found).__enter__(),
    ):
        assert "egress vault unlock" in refused("vault-locked", act)
    assert [info.name for info in vault.names()] == ["key"]
    assert vault.remove(*OURS) == 1


def test_what_was_found_before_a_change_of_the_key_is_to_be_found_again(vault: Vault) -> None:
    vault.put(*OURS, static(), NOW)
    found = vault.find(*OURS)
    vault.keyring.change(LocalKey(bytearray(b"n" * KEY), secrets.token_bytes), Source.KEY_FILE)
    refused("vault-locked", lambda: vault.opened(found).__enter__())
    assert value(vault, *OURS) == CANARY


def test_a_database_that_fails_is_an_unreadable_vault(vault: Vault, database: Engine) -> None:
    vault.put(*OURS, static(), NOW)
    with database.begin() as connection:
        secrets_table.drop(connection)
    for act in (
        lambda: value(vault, *OURS),
        lambda: vault.put(*OURS, static(), NOW),
        lambda: vault.rotate(*OURS, static(), NOW),
        lambda: vault.remove(*OURS),
        vault.names,
    ):
        assert "the vault's database fails" in refused("vault-unreadable", act)


def test_a_failed_write_leaves_the_version_before(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put(*OURS, static(), NOW)

    def failing(*_arguments: object) -> object:
        raise OperationalError("statement", {}, Exception("database or disk is full"))

    monkeypatch.setattr(module, "delete", failing)
    assert "disk is full" in refused(
        "vault-unreadable", lambda: vault.rotate(*OURS, static("newer-value"), NOW)
    )
    assert vault.versions(*OURS) == (1,)
    assert value(vault, *OURS) == CANARY


def test_a_row_with_an_odd_time_is_listed(vault: Vault, database: Engine) -> None:
    vault.put(*OURS, static(), NOW)
    with database.begin() as connection:
        connection.execute(update(secrets_table).values(created=2**62))
    assert vault.names()[0].created.year > 9000


def test_columns_hold_every_name_that_is_allowed(vault: Vault) -> None:
    place = ("a" * 32, "i" * 64, "n" * 64)
    vault.put(*place, static(), NOW)
    assert value(vault, *place) == CANARY
