"""appliance.broker.session_table: what is kept of a session, on both databases."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from sqlalchemy import Engine, create_engine, select

from appliance.broker.database import reading
from appliance.broker.denied import Denied
from appliance.broker.session_table import Session, SessionTable, hash_token, sessions

NOW = 1_800_000_000
ONE = Session(
    id="1" * 32,
    tenant="acme",
    workload="spiffe://lab/tenant/acme/workload/c1",
    account=None,
    x5t_s256="m" * 43,
    dpop_jkt=None,
    opened_at=NOW,
    expires_at=NOW + 60,
    revoked_at=None,
)


def numbered(number: int, **changes: object) -> Session:
    return replace(ONE, id=f"{number:032}", **changes)


def test_what_was_added_is_found_by_its_token_alone(database: Engine) -> None:
    table = SessionTable(database)
    two = numbered(2, account="openai-acme", dpop_jkt="k" * 43)
    assert table.add(ONE, "token-one", 10)
    assert table.add(two, "token-two", 10)
    assert table.find("token-one") == ONE
    assert table.find("token-two") == two
    assert table.find("token-three") is None
    assert table.find(hash_token("token-one").decode("latin-1")) is None


def test_of_the_token_the_hash_is_kept(database: Engine) -> None:
    SessionTable(database).add(ONE, "token-one", 10)
    with reading(database) as connection:
        (row,) = connection.execute(select(sessions)).mappings()
    assert row["token_hash"] == hash_token("token-one") == hashlib.sha256(b"token-one").digest()
    assert "token-one" not in repr(dict(row))


def test_no_two_sessions_have_one_token(database: Engine) -> None:
    table = SessionTable(database)
    table.add(ONE, "token", 10)
    with pytest.raises(Denied, match="store_unavailable"):
        table.add(numbered(2), "token", 10)
    assert table.find("token") == ONE


def test_a_tenant_has_no_more_than_its_most(database: Engine) -> None:
    table = SessionTable(database)
    assert [table.add(numbered(n), f"token-{n}", 2) for n in range(3)] == [True, True, False]
    assert table.find("token-2") is None
    assert table.add(numbered(3, tenant="other"), "token-3", 2)
    assert table.add(numbered(4, opened_at=NOW + 60, expires_at=NOW + 99), "token-4", 2)


def test_a_revoked_one_is_found_and_counts_no_more(database: Engine) -> None:
    table = SessionTable(database)
    table.add(ONE, "token", 1)
    assert table.revoke(sessions.c.tenant == "acme", NOW + 1) == 1
    assert table.revoke(sessions.c.tenant == "acme", NOW + 2) == 0
    assert table.find("token") == replace(ONE, revoked_at=NOW + 1)
    assert table.live("acme", NOW) == 0
    assert table.add(numbered(2), "token-2", 1)


def test_without_a_database_there_is_no_table_and_without_an_answer_no_session() -> None:
    with pytest.raises(AttributeError):
        SessionTable(None)  # type: ignore[arg-type]
    gone = SessionTable(create_engine("postgresql+psycopg://nobody@/nothing?host=/nonexistent"))
    for ask in (lambda: gone.find("x"), lambda: gone.live("acme", NOW), lambda: gone.add(ONE, "x", 1)):
        with pytest.raises(Denied, match="store_unavailable"):
            ask()
