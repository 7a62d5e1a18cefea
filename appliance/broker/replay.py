"""Which proofs were used: one table for all processes, so that a proof is good once and not once in each.

The key is tenant, session, thumbprint of the proof's key, and the hash of its `jti`: narrower than RFC 9449
section 11.1, whose key has the target URI in it, under which one proof could still serve two targets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    LargeBinary,
    String,
    Table,
    delete,
    insert,
    select,
    tuple_,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from appliance.broker.database import metadata
from appliance.broker.denied import store_unavailable

PRUNED_AT_ONCE = 8
"""With each proof that is recorded, at most so many that are over are removed: more than one, so that what
is over does not pile up, and few, so that nobody pays for a flood of others."""

PRUNED_IN_ONE = 1000
"""In one transaction of `prune`."""

used_proofs = Table(
    "used_proofs",
    metadata,
    Column("tenant", String(64), primary_key=True),
    Column("session", String(256), primary_key=True),
    Column("jkt", String(43), primary_key=True),
    Column("jti_hash", LargeBinary(32), primary_key=True),
    Column("kept_until", BigInteger, nullable=False),
    Index("used_proofs_kept_until", "kept_until"),
)
_KEY = (used_proofs.c.tenant, used_proofs.c.session, used_proofs.c.jkt, used_proofs.c.jti_hash)


@dataclass(frozen=True, slots=True)
class UsedProof:
    """One use of a proof; none of the parts is ever empty. Raises `ValueError`."""

    tenant: str
    session: str
    jkt: str
    jti: str

    def __post_init__(self) -> None:
        if not (self.tenant and self.session and self.jkt and self.jti):
            raise ValueError("a used proof has a tenant, a session, a key and an identifier")


class Replays:
    """Records uses in a database that other processes use as well. Blocking."""

    def __init__(self, engine: Engine) -> None:
        self._begin = engine.begin

    def first_use(self, proof: UsedProof, now: int, kept_until: int) -> bool:
        """Record a use; False when it was recorded before, by whomever. Times in Unix seconds.

        Atomic: of many that ask at once, one is told True. What is over but not yet removed still counts.
        Raises `Denied` (`store_unavailable`) when nothing could be recorded.
        """
        try:
            with self._begin() as connection:
                connection.execute(
                    insert(used_proofs).values(
                        tenant=proof.tenant,
                        session=proof.session,
                        jkt=proof.jkt,
                        jti_hash=hashlib.sha256(proof.jti.encode("utf-8")).digest(),
                        kept_until=kept_until,
                    )
                )
                _prune(connection, now, PRUNED_AT_ONCE)
        except IntegrityError:
            return False
        except SQLAlchemyError as error:
            raise store_unavailable() from error
        return True

    def prune(self, now: int) -> int:
        """Remove all that are over, a few at a time: nobody waits for long. How many.

        Raises `Denied` (`store_unavailable`).
        """
        gone = 0
        while True:
            try:
                with self._begin() as connection:
                    removed = _prune(connection, now, PRUNED_IN_ONE)
            except SQLAlchemyError as error:
                raise store_unavailable() from error
            gone += removed
            if removed < PRUNED_IN_ONE:
                return gone


def _prune(connection: Connection, now: int, most: int) -> int:
    over = (
        select(*_KEY)
        .where(used_proofs.c.kept_until < now)
        .order_by(used_proofs.c.kept_until)
        .limit(most)
        # PostgreSQL: two that prune at once take different rows and do not wait for each other.
        .with_for_update(skip_locked=True)
    )
    rows = [tuple(row) for row in connection.execute(over)]
    if rows:
        connection.execute(delete(used_proofs).where(tuple_(*_KEY).in_(rows)))
    return len(rows)
