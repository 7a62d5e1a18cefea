"""appliance.broker.dpop.nonce_key: made once, whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.broker.database import open_database
from appliance.broker.dpop.nonce_key import shared_nonce_key
from appliance.broker.dpop.nonces import KEY_SIZE


def test_the_key_is_random_and_stays(database: Engine, database_url: str) -> None:
    key = shared_nonce_key(database)
    assert len(key) == KEY_SIZE
    assert len(set(key)) > 8
    other = open_database(database_url)
    try:
        assert shared_nonce_key(other) == shared_nonce_key(database) == key
    finally:
        other.dispose()


def test_of_many_that_start_at_once_all_have_the_same(database: Engine) -> None:
    start = Barrier(4)

    def randomness(size: int) -> bytes:
        # All have seen that there is none.
        return bytes([start.wait(10)]) * size

    with ThreadPoolExecutor(4) as threads:
        keys = list(threads.map(lambda _: shared_nonce_key(database, randomness), range(4)))
    assert len(set(keys)) == 1


def test_without_the_database_there_is_no_key() -> None:
    with pytest.raises(SQLAlchemyError):
        shared_nonce_key(create_engine("sqlite://"))
