"""Access tokens that were exchanged for a secret: in memory alone, for a bounded time, each asked for once.

An entry belongs to one account and to the very secret that it was exchanged for (by a keyed digest), so that
no other account is served with it and a new secret begins anew. Who wants a token while it is being asked for
waits for the same answer: a refresh token that is used twice at once, providers take for a stolen one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.broker.credentials.outgoing import CredentialError
from appliance.broker.vault.kinds import Material, dump_material

if TYPE_CHECKING:
    from appliance.broker.vault.kinds import OAuthRefresh

MAX_TOKENS = 4096
"""Of all accounts; the one that expires first makes room."""
MAX_LIFE = timedelta(hours=1)
"""However long the provider would take the token."""
SKEW = timedelta(seconds=60)
"""Before its end a token is renewed; of a short life the last fifth."""
REVOKED_REMEMBERED = timedelta(seconds=60)
"""So long a provider is not asked again about a grant that it has taken back."""

Rotated = Callable[["OAuthRefresh"], Awaitable[int]]
"""Stores material with a new refresh token as the vault's next version and returns its number.

It must refuse (raise) when the version that the token was exchanged with is no longer the newest.
"""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that a provider issued and when it ends, by the provider's word."""

    text: str = field(repr=False)
    expires: datetime
    successor: bytes | None = None
    """The mark of the secret that the provider has put in the place of the one that was exchanged."""


class _Key(NamedTuple):
    tenant: str
    account: str
    mark: bytes
    purpose: str


class _Entry(NamedTuple):
    token: Token
    renew: datetime
    expires: datetime


class ExchangedTokens:
    """All that is exchanged now. `forget` when an account changes; `purge` every minute."""

    log = Logger()

    def __init__(self, capacity: int = MAX_TOKENS, key: bytes | None = None) -> None:
        """`key` is random where it is left out."""
        self._capacity = capacity
        self._key = key or secrets.token_bytes(32)
        self._entries: dict[_Key, _Entry] = {}
        self._revoked: dict[_Key, tuple[CredentialError, datetime]] = {}
        self._flights: dict[_Key, _Flight] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<{len(self._entries)} exchanged tokens>"

    def of(self, tenant: str, account: str, rotated: Rotated) -> Exchanged:
        """The part of one account."""
        return Exchanged(self, tenant, account, rotated)

    def mark(self, material: Material) -> bytes:
        """Tells one secret from another, and nothing else about it."""
        return hashlib.blake2b(dump_material(material), key=self._key, digest_size=16).digest()

    def forget(self, tenant: str, account: str | None = None) -> None:
        """Drop an account's tokens, or all of a tenant's. What is under way for them ends without a token."""
        self.refused(tenant, account)
        for key in _of(self._revoked, tenant, account):
            del self._revoked[key]
        for key in _of(self._flights, tenant, account):
            flight = self._flights.pop(key)
            flight.land(CredentialError("credential-withdrawn", "The account was changed during the call."))

    def forget_everything(self) -> None:
        """`forget`, for all there are."""
        for tenant in {
            key.tenant for table in (self._entries, self._revoked, self._flights) for key in table
        }:
            self.forget(tenant)

    def refused(self, tenant: str, account: str | None = None) -> None:
        """Drop an account's tokens that the provider takes no more: the next call asks for a new one."""
        for key in _of(self._entries, tenant, account):
            del self._entries[key]

    def purge(self, now: datetime) -> None:
        """Drop what has ended."""
        for key in [key for key, entry in self._entries.items() if entry.expires <= now]:
            del self._entries[key]
        for key in [key for key, (_, until) in self._revoked.items() if until <= now]:
            del self._revoked[key]

    async def token(
        self, key: _Key, now: datetime, exchange: Callable[[], Coroutine[Any, Any, Token]]
    ) -> str:
        """A token that lasts, exchanged at most once at a time. Raises `CredentialError`.

        What the exchange has begun it finishes, also when all who waited have gone: its answer may hold the
        only refresh token that is still good.
        """
        entry = self._entries.get(key)
        if entry is not None and entry.expires <= now:
            del self._entries[key]
            entry = None
        if entry is not None and now < entry.renew:
            return entry.token.text
        revoked, until = self._revoked.get(key, (None, now))
        if revoked is not None and now < until:
            raise _again(revoked)
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            deferred = Deferred.fromCoroutine(exchange())
            deferred.addBoth(self._landed, key, flight, now)
        result = await flight.joined()
        if isinstance(result, Token):
            return result.text
        if entry is not None and result.code == "token-endpoint-failed":
            return entry.token.text  # not renewed in time, but good until its end
        raise _again(result)

    def _landed(self, result: Token | Failure, key: _Key, flight: _Flight, now: datetime) -> None:
        forgotten = self._flights.get(key) is not flight
        if not forgotten:
            del self._flights[key]
        if isinstance(result, Failure) and not isinstance(result.value, CredentialError):
            self.log.failure("a token could not be exchanged, by a fault of ours", failure=result)
            flight.land(result)
            return
        if forgotten:
            return  # the token goes nowhere
        if isinstance(result, Failure):
            error = result.value
            assert isinstance(error, CredentialError)
            if error.code == "refresh-revoked":
                self._entries.pop(key, None)
                if len(self._revoked) >= self._capacity:
                    self._revoked.clear()
                self._revoked[key] = (_again(error), now + REVOKED_REMEMBERED)
            flight.land(error)
            return
        self._keep(key, result, now)
        if result.successor is not None:
            self._keep(key._replace(mark=result.successor), result, now)
        flight.land(result)

    def _keep(self, key: _Key, token: Token, now: datetime) -> None:
        expires = min(token.expires, now + MAX_LIFE)
        if expires <= now:
            return
        if len(self._entries) >= self._capacity:
            self.purge(now)
        while len(self._entries) >= self._capacity and key not in self._entries:
            del self._entries[min(self._entries, key=lambda held: self._entries[held].expires)]
        renew = expires - min(SKEW, (expires - now) / 5)
        self._entries[key] = _Entry(token, renew, expires)


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What one account's credentials may exchange and keep."""

    tokens: ExchangedTokens
    tenant: str
    account: str
    rotated: Rotated = field(repr=False)

    async def token(
        self,
        material: Material,
        purpose: str,
        now: datetime,
        exchange: Callable[[], Coroutine[Any, Any, Token]],
    ) -> str:
        """The token of `material` for `purpose` (one secret can have several). Raises `CredentialError`."""
        key = _Key(self.tenant, self.account, self.tokens.mark(material), purpose)
        return await self.tokens.token(key, now, exchange)

    def refused(self) -> None:
        """The provider has refused a token: the next call asks for a new one."""
        self.tokens.refused(self.tenant, self.account)


class _Flight:
    """One exchange under way, and who waits for it. One who is cancelled leaves it to the others."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[Token | CredentialError]] = []
        self._result: Token | CredentialError | Failure | None = None

    def joined(self) -> Deferred[Token | CredentialError]:
        waiter: Deferred[Token | CredentialError] = Deferred(self._waiting.remove)
        if self._result is None:
            self._waiting.append(waiter)
        else:
            _settle(waiter, self._result)
        return waiter

    def land(self, result: Token | CredentialError | Failure) -> None:
        self._result = result
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            _settle(waiter, result)


def _settle(waiter: Deferred[Token | CredentialError], result: Token | CredentialError | Failure) -> None:
    if isinstance(result, Failure):
        waiter.errback(result)
    else:
        waiter.callback(result)


def _of(table: Iterable[_Key], tenant: str, account: str | None) -> list[_Key]:
    return [key for key in table if key.tenant == tenant and account in (None, key.account)]


def _again(error: CredentialError) -> CredentialError:
    """The same without its traceback, whose frames hold the secret that was to be exchanged."""
    return CredentialError(error.code, error.detail)
