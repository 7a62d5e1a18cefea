"""Where sessions are kept: the database's tables, by what is done with them. Times in Unix seconds. Blocking.

Of a token only its SHA-256 is stored. Nothing slower is needed: a token has more than 200 random bits, so
that there is no list of likely ones to try, and no request can be made with a hash. Finding it by its hash
tells no timing that is of use: whoever chooses tokens does not choose their hashes.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Index,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from appliance.broker.database import metadata, reading
from appliance.broker.denied import store_unavailable

PRUNED_AT_ONCE = 8
"""With each new session, at most so many that are over are removed."""
PRUNED_IN_ONE = 1000
"""In one transaction of `prune`."""

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("tenant", String(64), nullable=False),
    Column("workload", String(2048), nullable=False),
    Column("account", String(256)),
    Column("x5t_s256", String(43), nullable=False),
    Column("dpop_jkt", String(43)),
    Column("opened_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index("sessions_tenant", "tenant", "expires_at"),
    Index("sessions_expires_at", "expires_at"),
)

# One row for each tenant, written by every opening: the openings of a tenant are one after the other, so that
# none of them counts before another has added its session.
session_turns = Table(
    "session_turns",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("opened", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is stored. `id` names it in records and is no authority; `workload` is a SPIFFE ID."""

    id: str
    tenant: str
    workload: str
    account: str | None
    x5t_s256: str
    dpop_jkt: str | None
    opened_at: int
    expires_at: int
    revoked_at: int | None


class SessionTable:
    """Each method raises `Denied` (`store_unavailable`) when the database does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._begin = engine.begin

    def add(self, session: Session, token: str, most: int) -> bool:
        """Store a session; False when its tenant has `most` live ones already."""
        with _or_denied(), self._begin() as connection:
            _take_turn(connection, session.tenant)
            if _live(connection, session.tenant, session.opened_at) >= most:
                return False
            connection.execute(
                insert(sessions).values(
                    token_hash=hash_token(token), **{name: getattr(session, name) for name in _COLUMNS}
                )
            )
            _prune(connection, session.opened_at, PRUNED_AT_ONCE)
        return True

    def find(self, token: str) -> Session | None:
        """The session of a token, also one that is over or revoked."""
        wanted = hash_token(token)
        columns = [sessions.c[name] for name in _COLUMNS]
        query = select(sessions.c.token_hash, *columns).where(sessions.c.token_hash == wanted)
        with _or_denied(), reading(self._engine) as connection:
            found = connection.execute(query).one_or_none()
        if found is None or not hmac.compare_digest(found[0], wanted):
            return None
        return Session(*found[1:])

    def revoke(self, which: ColumnElement[bool], now: int) -> int:
        """End those that a clause over `sessions` selects. How many ended."""
        change = update(sessions).where(which, sessions.c.revoked_at.is_(None)).values(revoked_at=now)
        with _or_denied(), self._begin() as connection:
            return connection.execute(change).rowcount

    def prune(self, now: int) -> int:
        """Remove all that are over, a few at a time: nobody waits for long. How many."""
        gone = 0
        while True:
            with _or_denied(), self._begin() as connection:
                removed = _prune(connection, now, PRUNED_IN_ONE)
            gone += removed
            if removed < PRUNED_IN_ONE:
                return gone

    def live(self, tenant: str, now: int) -> int:
        """How many of a tenant are neither over nor revoked."""
        with _or_denied(), reading(self._engine) as connection:
            return _live(connection, tenant, now)


def hash_token(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


@contextmanager
def _or_denied() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise store_unavailable() from error


def _take_turn(connection: Connection, tenant: str) -> None:
    """Wait until no other opening of the tenant is under way, and hold up those that follow."""
    mine = update(session_turns).where(session_turns.c.tenant == tenant)
    if connection.execute(mine.values(opened=session_turns.c.opened + 1)).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(session_turns).values(tenant=tenant, opened=1))
    except IntegrityError:  # another process was first
        connection.execute(mine.values(opened=session_turns.c.opened + 1))


def _live(connection: Connection, tenant: str, now: int) -> int:
    query = select(func.count()).where(
        sessions.c.tenant == tenant, sessions.c.expires_at > now, sessions.c.revoked_at.is_(None)
    )
    return connection.execute(query).scalar_one()


def _prune(connection: Connection, now: int, most: int) -> int:
    """Remove some that are over; how many. A revoked one stays to its end: its use is told from a guess."""
    over = (
        select(sessions.c.id)
        .where(sessions.c.expires_at <= now)
        .order_by(sessions.c.expires_at)
        .limit(most)
        # PostgreSQL: two that prune at once take different rows and do not wait for each other.
        .with_for_update(skip_locked=True)
    )
    gone = list(connection.execute(over).scalars())
    if gone:
        connection.execute(delete(sessions).where(sessions.c.id.in_(gone)))
    return len(gone)


_COLUMNS = Session.__slots__
