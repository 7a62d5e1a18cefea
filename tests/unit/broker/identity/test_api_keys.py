"""appliance.broker.identity.api_keys: shown once, kept as a salted hash, two at a time, ended at once."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from appliance.broker.identity.actors import Caller, CallerFault, CallerMode, CallerRefusal
from appliance.broker.identity.api_keys import (
    ACTIVE_KEYS,
    ApiKeyRefused,
    ApiKeys,
    NewApiKey,
    api_keys,
    looks_like_api_key,
)

from .peers import NOW

SCOPES = frozenset({"calls:write", "audit:read"})


@pytest.fixture
def keys(database: Engine) -> ApiKeys:
    return ApiKeys(database)


def create(
    keys: ApiKeys, actor: str = "ci", tenant: str = "acme", life: timedelta | None = None
) -> NewApiKey:
    return keys.create(tenant, actor, SCOPES, NOW, life)


def who(keys: ApiKeys, text: str, after: timedelta = timedelta(0)) -> Caller | CallerFault:
    answer = keys.authenticate(text, NOW + after)
    return answer.fault if isinstance(answer, CallerRefusal) else answer


def test_002_08_a_key_brings_its_actor_tenant_and_scopes(keys: ApiKeys) -> None:
    assert who(keys, create(keys).text) == Caller(CallerMode.API_KEY, "ci", "acme", SCOPES)


def test_002_22_the_database_holds_only_a_salted_hash(keys: ApiKeys, database: Engine) -> None:
    made = create(keys)
    secret = made.text.rsplit("_", 1)[1] if made.text.count("_") == 2 else made.text[len("egk_") + 17 :]
    with database.connect() as connection:
        (row,) = connection.execute(select(api_keys)).all()
    stored = " ".join(repr(value) for value in row)
    assert secret not in stored
    for start in range(0, len(secret) - 8, 4):
        assert secret[start : start + 8] not in stored
    assert len(bytes(row.salt)) == 16
    assert len(bytes(row.digest)) == 32
    assert made.text not in repr(made)


def test_002_22_the_same_secret_with_another_salt_has_another_hash(database: Engine) -> None:
    octets = iter([b"\1" * 8, b"s" * 32, b"a" * 16, b"\2" * 8, b"s" * 32, b"b" * 16])
    keys = ApiKeys(database, lambda _count: next(octets))
    create(keys, "one")
    create(keys, "two")
    with database.connect() as connection:
        digests = {bytes(digest) for digest in connection.scalars(select(api_keys.c.digest))}
    assert len(digests) == 2


def test_002_22_two_active_keys_overlap_and_a_third_is_refused(keys: ApiKeys) -> None:
    old, new = create(keys), create(keys)
    assert isinstance(who(keys, old.text), Caller)
    assert isinstance(who(keys, new.text), Caller)
    with pytest.raises(ApiKeyRefused) as caught:
        create(keys)
    assert caught.value.code == "api_key_limit"
    # Others are not concerned; and a revoked key makes room.
    create(keys, "other")
    create(keys, tenant="beta")
    assert keys.revoke(old.id, NOW)
    assert isinstance(who(keys, create(keys).text), Caller)
    assert isinstance(who(keys, new.text), Caller)


def test_002_22_two_processes_at_once_make_no_third_key(database: Engine) -> None:
    start = threading.Barrier(6)
    made: list[NewApiKey] = []
    codes: list[str] = []

    def ask() -> None:
        start.wait()
        try:
            made.append(create(ApiKeys(database)))
        except ApiKeyRefused as error:
            codes.append(error.code)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(made) <= ACTIVE_KEYS
    assert codes == ["api_key_limit"] * (6 - len(made))
    assert len(ApiKeys(database).keys()) == len(made)


def test_002_22_a_revoked_key_is_refused_by_the_next_call(keys: ApiKeys) -> None:
    made = create(keys)
    assert keys.revoke(made.id, NOW)
    assert who(keys, made.text) is CallerFault.KEY_REVOKED
    assert not keys.revoke(made.id, NOW)
    assert not keys.revoke("0" * 16, NOW)


def test_002_22_an_expired_key_is_refused_and_makes_room(keys: ApiKeys) -> None:
    made = create(keys, life=timedelta(hours=1))
    create(keys)
    assert isinstance(who(keys, made.text, timedelta(minutes=59)), Caller)
    assert who(keys, made.text, timedelta(hours=1)) is CallerFault.KEY_EXPIRED
    with pytest.raises(ApiKeyRefused):
        create(keys)
    again = keys.create("acme", "ci", SCOPES, NOW + timedelta(hours=1))
    assert isinstance(who(keys, again.text, timedelta(hours=1)), Caller)


def test_002_22_only_who_knows_the_whole_key_learns_that_it_was_revoked(keys: ApiKeys) -> None:
    made = create(keys)
    keys.revoke(made.id, NOW)
    guess = made.text[:-1] + ("A" if made.text[-1] != "A" else "B")
    assert who(keys, guess) is CallerFault.KEY_INVALID


def test_002_07_any_other_text_is_nobodys_key(keys: ApiKeys) -> None:
    text = create(keys).text
    other = create(keys, "other").text
    swapped = text[: len("egk_") + 17] + other[len("egk_") + 17 :]
    for wrong in ("", "egk_", text[:-1], text + "A", text.upper(), " " + text, text + "\n", swapped,
                  "egk_" + "0" * 16 + "_" + "A" * 43, text.replace("egk_", "egx_")):  # fmt: skip
        assert who(keys, wrong) is CallerFault.KEY_INVALID, wrong


def test_an_unknown_key_costs_the_same_hash(keys: ApiKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    import hmac

    asked: list[int] = []
    genuine = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: asked.append(1) or genuine(*pair))
    who(keys, "egk_" + "0" * 16 + "_" + "A" * 43)
    assert asked == [1]


def test_keys_are_listed_without_what_they_prove(keys: ApiKeys) -> None:
    one, other = create(keys), create(keys, tenant="beta")
    assert [info.id for info in keys.keys("acme")] == [one.id]
    listed = keys.keys()
    assert {info.id for info in listed} == {one.id, other.id}
    assert listed[0].scopes == SCOPES
    assert not {"salt", "digest"} & set(type(listed[0]).__slots__)


@pytest.mark.parametrize(
    ("tenant", "actor", "scopes", "life"),
    [("", "ci", SCOPES, None), ("ACME", "ci", SCOPES, None), ("acme", "", SCOPES, None), ("acme", "a b", SCOPES, None),
     ("acme", "ci", frozenset({"a b"}), None), ("acme", "ci", SCOPES, timedelta(0))],
)  # fmt: skip
def test_what_cannot_be_a_key_is_refused(
    keys: ApiKeys, tenant: str, actor: str, scopes: frozenset[str], life: timedelta | None
) -> None:
    with pytest.raises(ApiKeyRefused) as caught:
        keys.create(tenant, actor, scopes, NOW, life)
    assert caught.value.code == "invalid"
    assert keys.keys() == []


def test_a_jwt_does_not_look_like_a_key() -> None:
    assert looks_like_api_key("egk_x")
    assert not looks_like_api_key("eyJhbGciOiJub25lIn0.e30.")
