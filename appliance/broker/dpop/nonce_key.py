"""The key of the nonces, made once and shared by every process that has the same database."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sqlalchemy import CheckConstraint, Column, Engine, Integer, LargeBinary, Table, insert, select
from sqlalchemy.exc import IntegrityError

from appliance.broker.database import metadata, reading
from appliance.broker.dpop.nonces import KEY_SIZE

dpop_nonce_key = Table(
    "dpop_nonce_key",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True, autoincrement=False),
    Column("key", LargeBinary(KEY_SIZE), nullable=False),
)


def shared_nonce_key(engine: Engine, randomness: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """`KEY_SIZE` octets, the same for all. Raises `SQLAlchemyError`."""
    key = _stored(engine)
    if key is None:
        drawn = randomness(KEY_SIZE)
        try:
            with engine.begin() as connection:
                connection.execute(insert(dpop_nonce_key).values(id=1, key=drawn))
        except IntegrityError:  # another process was first
            pass
        key = _stored(engine)
    assert key is not None
    return key


def _stored(engine: Engine) -> bytes | None:
    with reading(engine) as connection:
        return connection.scalar(select(dpop_nonce_key.c.key))
