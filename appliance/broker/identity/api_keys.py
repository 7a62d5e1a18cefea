"""API keys for callers that are no containers: shown once, stored as a salted hash, two at a time, revocable.

A key is `egk_<id>_<secret>`. The secret has 256 random bits, so one HMAC-SHA256 with a salt is as good as a
slow hash. Every question reads the database: a revoked key is refused by the next call. Times are whole
seconds since 1970. Everything blocks.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from appliance.broker.database import metadata, reading
from appliance.broker.identity.actors import (
    Caller,
    CallerFault,
    CallerMode,
    CallerRefusal,
    check_actor,
    check_scopes,
)
from appliance.workload import TENANT_NAME

PREFIX = "egk_"
ACTIVE_KEYS = 2
"""Of an actor: the one in use, and the one that takes its place."""

_FORM = re.compile(r"egk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    # 0 or 1 while the key is active: the database itself lets no third one in.
    Column("slot", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    UniqueConstraint("tenant", "actor", "slot"),
)


class ApiKeyRefused(Exception):
    """No key was made: `code` is `api_key_limit` or `invalid`, `detail` one sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key as it is shown to its owner, this once."""

    id: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """What may be listed of a key."""

    id: str
    tenant: str
    actor: str
    scopes: frozenset[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None

    def is_active(self, now: datetime) -> bool:
        """Whether it lets its actor in."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > _seconds(now))


class ApiKeys:
    """The table, by what is done with it. `entropy` gives that many random octets."""

    def __init__(self, database: Engine, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._database = database
        self._entropy = entropy

    def create(
        self, tenant: str, actor: str, scopes: frozenset[str], now: datetime, life: timedelta | None = None
    ) -> NewApiKey:
        """A new key. Raises `ApiKeyRefused`: an actor has two active ones at most, so revoke the old one."""
        _check(tenant, actor, scopes, life)
        identity = self._entropy(8).hex()
        secret = urlsafe_b64encode(self._entropy(32)).rstrip(b"=").decode("ascii")
        salt = self._entropy(16)
        row = {
            "id": identity,
            "tenant": tenant,
            "actor": actor,
            "scopes": json.dumps(sorted(scopes)),
            "salt": salt,
            "digest": _digest(salt, secret),
            "created_at": _seconds(now),
            "expires_at": None if life is None else _seconds(now + life),
        }
        try:
            with self._database.begin() as connection:
                slot = _free_slot(connection, tenant, actor, _seconds(now))
                if slot is None:
                    raise ApiKeyRefused("api_key_limit", _TOO_MANY)
                connection.execute(insert(api_keys).values(slot=slot, **row))
        except IntegrityError as error:
            # Another process took the slot between the question and the insertion.
            raise ApiKeyRefused("api_key_limit", _TOO_MANY) from error
        return NewApiKey(identity, f"{PREFIX}{identity}_{secret}")

    def revoke(self, identity: str, now: datetime) -> bool:
        """End a key by its id. Whether it was active."""
        change = (
            update(api_keys)
            .where(api_keys.c.id == identity, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=_seconds(now), slot=None)
        )
        with self._database.begin() as connection:
            return connection.execute(change).rowcount > 0

    def authenticate(self, text: str, now: datetime) -> Caller | CallerRefusal:
        """Whose key `text` is. That a key was revoked or has expired learns only who knows all of it."""
        found = _FORM.fullmatch(text)
        identity, secret = found.groups() if found else ("", "")
        with reading(self._database) as connection:
            row = connection.execute(select(api_keys).where(api_keys.c.id == identity)).one_or_none()
        salt, digest = (bytes(16), bytes(32)) if row is None else (bytes(row.salt), bytes(row.digest))
        genuine = hmac.compare_digest(_digest(salt, secret), digest)
        if row is None or not genuine:
            return CallerRefusal(CallerFault.KEY_INVALID)
        if row.revoked_at is not None:
            return CallerRefusal(CallerFault.KEY_REVOKED)
        if row.expires_at is not None and row.expires_at <= _seconds(now):
            return CallerRefusal(CallerFault.KEY_EXPIRED)
        return Caller(
            CallerMode.API_KEY, row.actor, row.tenant, frozenset(json.loads(row.scopes)),
            key=row.id, until=row.expires_at,
        )  # fmt: skip

    def keys(self, tenant: str | None = None) -> list[ApiKeyInfo]:
        """All keys, or those of a tenant, oldest first."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        if tenant is not None:
            query = query.where(api_keys.c.tenant == tenant)
        with reading(self._database) as connection:
            rows = connection.execute(query).all()
        return [
            ApiKeyInfo(
                id=row.id,
                tenant=row.tenant,
                actor=row.actor,
                scopes=frozenset(json.loads(row.scopes)),
                created_at=row.created_at,
                expires_at=row.expires_at,
                revoked_at=row.revoked_at,
            )
            for row in rows
        ]


def looks_like_api_key(token: str) -> bool:
    """Whether a bearer token claims to be an API key; a JWT cannot begin like one."""
    return token.startswith(PREFIX)


def _check(tenant: str, actor: str, scopes: frozenset[str], life: timedelta | None) -> None:
    try:
        check_actor(actor)
        check_scopes(scopes)
    except ValueError as error:
        raise ApiKeyRefused("invalid", str(error)) from error
    if not TENANT_NAME.fullmatch(tenant):
        raise ApiKeyRefused("invalid", "the tenant is no tenant name")
    if life is not None and life < timedelta(seconds=1):
        raise ApiKeyRefused("invalid", "a key that expires lives for a second at least")


def _free_slot(connection: Connection, tenant: str, actor: str, now: int) -> int | None:
    column = api_keys.c
    mine = (column.tenant == tenant) & (column.actor == actor)
    connection.execute(update(api_keys).where(mine, column.expires_at <= now).values(slot=None))
    taken = set(connection.scalars(select(column.slot).where(mine, column.slot.is_not(None))))
    return next((slot for slot in range(ACTIVE_KEYS) if slot not in taken), None)


def _digest(salt: bytes, secret: str) -> bytes:
    return hmac.digest(salt, secret.encode("ascii"), hashlib.sha256)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


_TOO_MANY = f"the actor has {ACTIVE_KEYS} active keys; revoke one of them first"
