"""Session tokens: random, short-lived, good for one workload with one certificate and nobody else.

A session is bound to the thumbprint of the client certificate with which it was opened (RFC 8705 section 3;
the record here is what introspection would answer, section 3.2), so that a renewed certificate needs a new
session; to an integration account where it was opened for one; and to the key of a DPoP proof where one came
with the opening (RFC 9449).

Who presents a token is what TLS says: `Presenter` is made from the certificate of the connection, never from
a field of the request. In a provider's own slot there is no certificate (`authorise_in_slot`): the link says
who calls, and the session's certificate must be one of that link that still counts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from appliance.broker.denied import Denied, invalid_token, store_unavailable
from appliance.broker.dpop.presented import MAX_TOKEN, Presented, one_proof
from appliance.broker.dpop.proof import ForNewToken, ForToken
from appliance.broker.dpop.verifier import ProofRequest, Verifier
from appliance.broker.identity.spiffe import WorkloadId
from appliance.broker.identity.thumbprint import LENGTH, same_thumbprint
from appliance.broker.identity.workloads import Workloads
from appliance.broker.session_table import Session, SessionTable, hash_token, sessions
from appliance.broker.token_shapes import SHAPES

MAX_LIFE = 3600
"""Seconds that a session may be asked for."""

_HEXADECIMAL = "0123456789abcdef"


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
class AttestedLink:
    """The link by which a request came, as the gateway attests it; `endpoint` is Docker's id of it."""

    tenant: str
    endpoint: str


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
    """Opens, authorises and revokes; every method raises `Denied`. Blocking; several processes may share it.

    `randbelow` is `secrets.randbelow`.
    """

    def __init__(
        self,
        table: SessionTable,
        verifier: Verifier,
        limits: SessionLimits | None = None,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        # Looked up here: what has no table or verifier fails when it starts, not at the first session.
        self._find = table.find
        self._verify = verifier.verify
        self._table = table
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
        """A session of `life` seconds, bound to the key of the proof if there is one.

        `proofs` are the values of all DPoP fields of `request`. `shape` is a key of `SHAPES`. Reasons:
        `session_life`, `session_shape`, `session_limit`, those of a proof, `store_unavailable`.
        """
        most = self._limits.life
        if not 1 <= life <= most:
            raise Denied(400, "invalid_request", "session_life", f"a session lives 1 to {most} seconds")
        if shape not in SHAPES:
            known = ", ".join(SHAPES)
            raise Denied(400, "invalid_request", "session_shape", f"a token's shape is one of: {known}")
        who = presenter.workload
        jkt = nonce = None
        if proofs:
            verified = self._verify(
                one_proof(proofs),
                request,
                tenant=who.tenant,
                workload=who.uri,
                session=f"opening {hash_token(who.uri).hex()}",
                purpose=ForNewToken(),
                now=now,
            )
            jkt, nonce = verified.jkt, verified.nonce
        moment = int(now.timestamp())
        session = Session(
            id="".join(_HEXADECIMAL[self._randbelow(16)] for _ in range(32)),
            tenant=who.tenant,
            workload=who.uri,
            account=account,
            x5t_s256=presenter.thumbprint,
            dpop_jkt=jkt,
            opened_at=moment,
            expires_at=moment + life,
            revoked_at=None,
        )
        token = SHAPES[shape].draw(self._randbelow)
        if not self._table.add(session, token, self._limits.of_tenant):
            raise Denied(
                429,
                "temporarily_unavailable",
                "session_limit",
                f"the tenant has {self._limits.of_tenant} live sessions already",
            )
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
        """The session of a token, if everything it is bound to is there.

        Every reason but `store_unavailable` and those of a proof is answered as 401 `invalid_token`:
        `token_unknown`, `session_revoked`, `session_expired`, `certificate_mismatch`, `workload_mismatch`,
        `account_mismatch`, `scheme_mismatch`.
        """
        session = self._live(presented.token, now)
        # RFC 8705 section 3: the certificate of this connection is the one of the opening's.
        if not same_thumbprint(session.x5t_s256, presenter.thumbprint):
            raise invalid_token("certificate_mismatch", "the session is bound to another certificate")
        if session.workload != presenter.workload.uri:
            raise _of_another()
        if session.account != account:
            raise invalid_token("account_mismatch", "the session is for something else")
        # RFC 9449 section 7.2: a bound token is not taken as a bearer's, nor an unbound one as bound.
        if (presented.scheme == "DPoP") != (session.dpop_jkt is not None):
            raise _wrong_scheme()
        if session.dpop_jkt is None:
            return Authorised(session, None)
        verified = self._verify(
            one_proof(presented.proofs),
            request,
            tenant=session.tenant,
            workload=session.workload,
            session=session.id,
            purpose=ForToken(presented.token, session.dpop_jkt),
            now=now,
        )
        return Authorised(session, verified.nonce)

    def authorise_in_slot(
        self, token: str, link: AttestedLink, account: str, workloads: Workloads, now: datetime
    ) -> Session:
        """The session of a token that stands where a provider's key would.

        Reasons as of `authorise`, and `certificate_over` where the session's certificate does not count any
        more. A session that is bound to a key serves nothing here: no proof can come along.
        """
        session = self._live(token, now)
        if session.account is None or session.account != account:
            raise invalid_token("account_mismatch", "the session is for something else")
        if session.dpop_jkt is not None:
            raise _wrong_scheme()
        try:
            standing = workloads.standing(session.x5t_s256)
        except SQLAlchemyError as error:
            raise store_unavailable() from error
        if (
            standing is None
            or session.tenant != link.tenant
            or (standing.tenant, standing.endpoint) != (link.tenant, link.endpoint)
        ):
            raise _of_another()
        over = standing.not_after <= now.timestamp()
        if over or standing.revoked or standing.disabled or standing.departed:
            raise invalid_token("certificate_over", "the certificate of the session does not count any more")
        return session

    def revoke_token(self, token: str, now: datetime) -> int:
        """End the session of a token. How many ended, as all of these tell."""
        return self._table.revoke(sessions.c.token_hash == hash_token(token), int(now.timestamp()))

    def revoke_session(self, identity: str, now: datetime) -> int:
        """End one session by its `id`."""
        return self._table.revoke(sessions.c.id == identity, int(now.timestamp()))

    def revoke_workload(self, workload: WorkloadId, now: datetime) -> int:
        """End every session of a workload, as when it is stopped."""
        return self._table.revoke(sessions.c.workload == workload.uri, int(now.timestamp()))

    def revoke_certificate(self, thumbprint: str, now: datetime) -> int:
        """End every session that is bound to a certificate."""
        return self._table.revoke(sessions.c.x5t_s256 == thumbprint, int(now.timestamp()))

    def revoke_tenant(self, tenant: str, now: datetime) -> int:
        """End every session of a tenant."""
        return self._table.revoke(sessions.c.tenant == tenant, int(now.timestamp()))

    def live(self, tenant: str, now: datetime) -> int:
        """How many sessions of a tenant are live."""
        return self._table.live(tenant, int(now.timestamp()))

    def prune(self, now: datetime) -> int:
        """Forget sessions that are over. How many."""
        return self._table.prune(int(now.timestamp()))

    def _live(self, token: str, now: datetime) -> Session:
        session = self._find(token) if 0 < len(token) <= MAX_TOKEN else None
        if session is None:
            raise invalid_token("token_unknown", "no session has this token")
        if session.revoked_at is not None:
            raise invalid_token("session_revoked", "the session was revoked")
        if int(now.timestamp()) >= session.expires_at:
            raise invalid_token("session_expired", "the session is over")
        return session


def _of_another() -> Denied:
    return invalid_token("workload_mismatch", "the session is another workload's")


def _wrong_scheme() -> Denied:
    return invalid_token("scheme_mismatch", "the token is not of the scheme under which it came")
