"""Session tokens: random, short-lived, good for one workload with one certificate and nobody else.

A session is bound to the thumbprint of the client certificate with which it was opened (RFC 8705 section 3;
the record here is what introspection would answer, section 3.2), so that a renewed certificate needs a new
session; to an integration account where it was opened for one; and to the key of a DPoP proof where one came
with the opening (RFC 9449). Who presents a token is what TLS says: `Presenter` is made from the certificate
of the connection, never from a field of the request.

Of a token only its SHA-256 is stored. Nothing slower is needed: a token has more than 200 random bits, so
that there is no list of likely ones to try, and no request can be made with a hash. Finding it by its hash
tells no timing that is of use: whoever chooses tokens does not choose their hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Index,
    LargeBinary,
    RowMapping,
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
from appliance.broker.denied import Denied, invalid_token, store_unavailable
from appliance.broker.dpop.presented import MAX_TOKEN, Presented, one_proof
from appliance.broker.dpop.proof import ForNewToken, ForToken
from appliance.broker.dpop.verifier import ProofRequest, Verifier
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import LENGTH, same_thumbprint
from appliance.broker.token_shapes import SHAPES

MAX_LIFE = 3600
"""Seconds that a session may be asked for."""

PRUNED_AT_ONCE = 8

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("workload", String(2048), nullable=False),
    Column("tenant", String(64), nullable=False),
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
class Presenter:
    """Who is at the other end of a TLS connection: the certificate's SPIFFE ID and `x5t#S256`.

    Raises `ValueError` where that is no thumbprint.
    """

    workload: WorkloadId
    thumbprint: str

    def __post_init__(self) -> None:
        if len(self.thumbprint) != LENGTH:
            raise ValueError("a thumbprint is base64url of 32 octets without padding")


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is stored; `id` names it in records and is no authority. Times in Unix seconds."""

    id: str
    tenant: str
    account: str | None
    x5t_s256: str
    dpop_jkt: str | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A new session. `token` is known to the caller alone, and stands here for the last time."""

    token: str
    session: Session
    nonce: str | None

    def __repr__(self) -> str:
        return f"Opened({self.session!r})"


@dataclass(frozen=True, slots=True)
class Authorised:
    """A session that was presented rightly; `nonce` is for the answer's `DPoP-Nonce` field, if any."""

    session: Session
    nonce: str | None


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """`life`: the longest, in seconds; `of_tenant`: sessions that may be live at the same time."""

    life: int = MAX_LIFE
    of_tenant: int = 1000

    def __post_init__(self) -> None:
        if not (1 <= self.life <= MAX_LIFE and self.of_tenant >= 1):
            raise ValueError(f"sessions live 1 to {MAX_LIFE} seconds, and a tenant has at least one")


class Sessions:
    """Opens, authorises and revokes. Blocking; several processes may share the database.

    `randbelow` is `secrets.randbelow`. `shape` is a key of `SHAPES`.
    """

    def __init__(
        self,
        engine: Engine,
        verifier: Verifier,
        limits: SessionLimits | None = None,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._engine = engine
        self._verify = verifier.verify
        self._limits = limits or SessionLimits()
        self._randbelow = randbelow

    def open(
        self,
        presenter: Presenter,
        life: int,
        request: ProofRequest,
        proofs: tuple[str, ...],
        now: datetime,
        *,
        account: str | None = None,
        shape: str = "plain",
    ) -> Opened:
        """A session of `life` seconds, bound to the key of the proof if there is one. Raises `Denied`.

        Codes: `session_life`, `session_shape`, `session_limit`, those of a proof, `store_unavailable`.
        """
        if not 1 <= life <= self._limits.life:
            raise Denied(
                400, "invalid_request", "session_life", f"a session lives 1 to {self._limits.life} seconds"
            )
        if shape not in SHAPES:
            raise Denied(
                400, "invalid_request", "session_shape", f"a token's shape is one of: {', '.join(SHAPES)}"
            )
        who = presenter.workload
        jkt = nonce = None
        if proofs:
            verified = self._verify(
                one_proof(proofs),
                request,
                tenant=who.tenant,
                workload=who.uri,
                session=f"opening {hashlib.sha256(who.uri.encode()).hexdigest()}",
                purpose=ForNewToken(),
                now=now,
            )
            jkt, nonce = verified.jkt, verified.nonce
        moment = int(now.timestamp())
        token = SHAPES[shape].draw(self._randbelow)
        session = Session(
            "".join("0123456789abcdef"[self._randbelow(16)] for _ in range(32)),
            who.tenant,
            account,
            presenter.thumbprint,
            jkt,
            moment + life,
        )
        self._add(session, who.uri, token, moment)
        return Opened(token, session, nonce)

    def authorise(
        self,
        presented: Presented,
        presenter: Presenter,
        request: ProofRequest,
        now: datetime,
        *,
        account: str | None = None,
    ) -> Authorised:
        """The session of a token, if everything it is bound to is there. Raises `Denied`.

        A token in another field than Authorization counts as `Bearer`. Every code but `store_unavailable` and
        those of a proof is answered as 401 `invalid_token`: `token_unknown`, `session_revoked`,
        `session_expired`, `certificate_mismatch`, `workload_mismatch`, `account_mismatch`, `scheme_mismatch`.
        """
        found = self._find(presented.token)
        session = _session(found)
        moment = int(now.timestamp())
        if found["revoked_at"] is not None:
            raise invalid_token("session_revoked", "the session was revoked")
        if moment >= session.expires_at:
            raise invalid_token("session_expired", "the session is over")
        # RFC 8705 section 3: the certificate of this connection is the one of the opening's.
        if not same_thumbprint(session.x5t_s256, presenter.thumbprint):
            raise invalid_token("certificate_mismatch", "the session is bound to another certificate")
        if not _same(found["workload"], presenter.workload.uri):
            raise invalid_token("workload_mismatch", "the session is another workload's")
        if session.account != account:
            raise invalid_token("account_mismatch", "the session is for something else")
        # RFC 9449 section 7.2: a bound token is not taken as a bearer's, nor an unbound one as bound.
        if (presented.scheme == "DPoP") != (session.dpop_jkt is not None):
            raise invalid_token("scheme_mismatch", "the token is not of the scheme under which it came")
        if session.dpop_jkt is None:
            return Authorised(session, None)
        verified = self._verify(
            one_proof(presented.proofs),
            request,
            tenant=session.tenant,
            workload=found["workload"],
            session=session.id,
            purpose=ForToken(presented.token, session.dpop_jkt),
            now=now,
        )
        return Authorised(session, verified.nonce)

    def revoke_token(self, token: str, now: datetime) -> int:
        """End the session of a token. How many ended; raises `Denied`, as all of these do."""
        return self._revoke(sessions.c.token_hash == _hash(token), now)

    def revoke_session(self, identity: str, now: datetime) -> int:
        """End one session by its `id`."""
        return self._revoke(sessions.c.id == identity, now)

    def revoke_workload(self, workload: WorkloadId, now: datetime) -> int:
        """End every session of a workload, as when it is stopped."""
        return self._revoke(sessions.c.workload == workload.uri, now)

    def revoke_certificate(self, thumbprint: str, now: datetime) -> int:
        """End every session that is bound to a certificate."""
        return self._revoke(sessions.c.x5t_s256 == thumbprint, now)

    def revoke_tenant(self, tenant: str, now: datetime) -> int:
        """End every session of a tenant."""
        return self._revoke(sessions.c.tenant == tenant, now)

    def live(self, tenant: str, now: datetime) -> int:
        """How many sessions of a tenant are live. Raises `Denied`."""
        try:
            with reading(self._engine) as connection:
                return _live(connection, tenant, int(now.timestamp()))
        except SQLAlchemyError as error:
            raise store_unavailable() from error

    def _find(self, token: str) -> RowMapping:
        wanted = _hash(token)
        try:
            with reading(self._engine) as connection:
                query = select(sessions).where(sessions.c.token_hash == wanted)
                found = connection.execute(query).mappings().one_or_none()
        except SQLAlchemyError as error:
            raise store_unavailable() from error
        if found is None or not hmac.compare_digest(bytes(found["token_hash"]), wanted):
            raise invalid_token("token_unknown", "no session has this token")
        return found

    def _add(self, session: Session, workload: str, token: str, now: int) -> None:
        try:
            with self._engine.begin() as connection:
                _take_turn(connection, session.tenant)
                if _live(connection, session.tenant, now) >= self._limits.of_tenant:
                    raise Denied(
                        429,
                        "temporarily_unavailable",
                        "session_limit",
                        f"the tenant has {self._limits.of_tenant} live sessions already",
                    )
                connection.execute(
                    insert(sessions).values(
                        id=session.id,
                        token_hash=_hash(token),
                        workload=workload,
                        tenant=session.tenant,
                        account=session.account,
                        x5t_s256=session.x5t_s256,
                        dpop_jkt=session.dpop_jkt,
                        opened_at=now,
                        expires_at=session.expires_at,
                    )
                )
                _prune(connection, now)
        except SQLAlchemyError as error:
            raise store_unavailable() from error

    def _revoke(self, which: ColumnElement[bool], now: datetime) -> int:
        try:
            with self._engine.begin() as connection:
                change = update(sessions).where(which, sessions.c.revoked_at.is_(None))
                return connection.execute(change.values(revoked_at=int(now.timestamp()))).rowcount
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


def _prune(connection: Connection, now: int) -> None:
    """Remove some that are over; a revoked one stays to its end, so that its use is told from a guess."""
    over = (
        select(sessions.c.id)
        .where(sessions.c.expires_at <= now)
        .order_by(sessions.c.expires_at)
        .limit(PRUNED_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    gone = list(connection.execute(over).scalars())
    if gone:
        connection.execute(delete(sessions).where(sessions.c.id.in_(gone)))


def _session(found: RowMapping) -> Session:
    names = ("id", "tenant", "account", "x5t_s256", "dpop_jkt", "expires_at")
    return Session(**{name: found[name] for name in names})


def _hash(token: str) -> bytes:
    if not 0 < len(token) <= MAX_TOKEN:
        raise invalid_token("token_unknown", "no token is of that length")
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8"), other.encode("utf-8"))
