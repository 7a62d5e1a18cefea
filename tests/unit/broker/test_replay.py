"""appliance.broker.replay: good once, whoever is asked, on both databases."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, create_engine, func, select

from appliance.broker.database import open_database, reading
from appliance.broker.denied import Denied
from appliance.broker.replay import PRUNED_AT_ONCE, Replays, UsedProof, used_proofs

NOW = 1_800_000_000
KEPT = NOW + 125
USE = UsedProof("acme", "session-1", "k" * 43, "jti-1")


def rows(database: Engine) -> int:
    with reading(database) as connection:
        return connection.execute(select(func.count()).select_from(used_proofs)).scalar_one()


def test_000_16_a_proof_is_used_once_whichever_worker_is_asked(database: Engine, database_url: str) -> None:
    other = open_database(database_url)
    try:
        worker_a, worker_b = Replays(database), Replays(other)
        assert worker_a.first_use(USE, NOW, KEPT)
        assert not worker_b.first_use(USE, NOW, KEPT)
        assert not worker_a.first_use(USE, NOW, KEPT)
        later = UsedProof("acme", "session-1", "k" * 43, "jti-2")
        assert worker_b.first_use(later, NOW, KEPT)
        assert not worker_a.first_use(later, NOW, KEPT)
    finally:
        other.dispose()


def test_000_16_of_all_workers_that_ask_at_once_one_is_told_yes(database: Engine, database_url: str) -> None:
    other = open_database(database_url)
    workers = [Replays(database), Replays(other)] * 2
    rounds = 20
    start = Barrier(len(workers))

    def ask(worker: Replays) -> list[bool]:
        told = []
        for number in range(rounds):
            start.wait(30)
            told.append(worker.first_use(UsedProof("acme", "s", "k" * 43, f"jti-{number}"), NOW, KEPT))
        return told

    try:
        with ThreadPoolExecutor(len(workers)) as threads:
            answers = list(threads.map(ask, workers))
    finally:
        other.dispose()
    assert [sum(each) for each in zip(*answers, strict=True)] == [1] * rounds


def test_000_17_tenant_session_and_key_each_have_their_own_identifiers(database: Engine) -> None:
    replays = Replays(database)
    uses = [
        UsedProof(*parts)
        for parts in itertools.product(("acme", "other"), ("one", "two"), ("k" * 43, "l" * 43), ("x", "y"))
    ]
    assert len(uses) == 16
    assert all(replays.first_use(use, NOW, KEPT) for use in uses)
    assert not any(replays.first_use(use, NOW, KEPT) for use in uses)


def test_000_17_parts_do_not_run_into_each_other(database: Engine) -> None:
    replays = Replays(database)
    for tenant, session in (("ab", "c"), ("a", "bc"), ("abc", " "), ("a b", "c"), ("a", "b c")):
        assert replays.first_use(UsedProof(tenant, session, "k" * 43, "x"), NOW, KEPT)


def test_000_17_identifiers_differ_by_case_and_by_every_character(database: Engine) -> None:
    replays = Replays(database)
    for jti in ("a", "A", "a ", " a", "a\x00", "ä", "a\u0308", "a" * 255, "a" * 256):
        assert replays.first_use(UsedProof("acme", "s", "k" * 43, jti), NOW, KEPT)


def test_rfc9449_c_an_identifier_is_kept_as_a_hash(database: Engine) -> None:
    Replays(database).first_use(USE, NOW, KEPT)
    with reading(database) as connection:
        (row,) = connection.execute(select(used_proofs)).mappings()
    assert (row["tenant"], row["session"], row["jkt"], row["kept_until"]) == (
        "acme",
        "session-1",
        "k" * 43,
        KEPT,
    )
    assert len(row["jti_hash"]) == 32
    assert b"jti" not in row["jti_hash"]


def test_what_is_over_is_removed_a_few_at_a_time(database: Engine) -> None:
    replays = Replays(database)
    old = 3 * PRUNED_AT_ONCE
    for number in range(old):
        assert replays.first_use(UsedProof("acme", "s", "k" * 43, str(number)), NOW, KEPT + number % 2)
    assert replays.first_use(UsedProof("acme", "s", "k" * 43, "at the end"), KEPT, 2 * KEPT)
    assert rows(database) == old + 1  # an entry counts to the end of its last second
    counts = []
    for number in range(6):
        assert replays.first_use(UsedProof("acme", "s", "k" * 43, f"new {number}"), KEPT + 2, 2 * KEPT)
        counts.append(rows(database))
    assert counts == [18, 11, 4, 5, 6, 7]


def test_what_is_over_counts_until_it_is_removed(database: Engine) -> None:
    replays = Replays(database)
    assert replays.first_use(USE, NOW, KEPT)
    assert not replays.first_use(USE, KEPT + 1000, KEPT + 2000)


def test_many_that_prune_at_once_do_not_stand_in_each_others_way(database: Engine, database_url: str) -> None:
    replays = Replays(database)
    for number in range(40):
        replays.first_use(UsedProof("acme", "s", "k" * 43, str(number)), NOW, KEPT)
    other = open_database(database_url)
    start = Barrier(4)

    def use(worker: int) -> list[bool]:
        mine = Replays((database, other)[worker % 2])
        start.wait(30)
        return [
            mine.first_use(UsedProof("acme", f"w{worker}", "k" * 43, str(n)), KEPT + 9, 2 * KEPT)
            for n in range(5)
        ]

    try:
        with ThreadPoolExecutor(4) as threads:
            assert all(itertools.chain.from_iterable(threads.map(use, range(4))))
    finally:
        other.dispose()
    assert rows(database) == 20


def test_000_18_a_store_that_does_not_answer_denies(database: Engine) -> None:
    used_proofs.drop(database)
    with pytest.raises(Denied) as caught:
        Replays(database).first_use(USE, NOW, KEPT)
    assert (caught.value.status, caught.value.reason) == (503, "store_unavailable")
    gone = create_engine("postgresql+psycopg://nobody@/nothing?host=/nonexistent")
    with pytest.raises(Denied, match="store_unavailable"):
        Replays(gone).first_use(USE, NOW, KEPT)


def test_000_18_without_a_store_there_are_no_replays() -> None:
    with pytest.raises(AttributeError):
        Replays(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("empty", range(4))
def test_000_18_no_part_of_the_key_is_empty(empty: int) -> None:
    parts = ["acme", "s", "k" * 43, "x"]
    parts[empty] = ""
    with pytest.raises(ValueError):
        UsedProof(*parts)
