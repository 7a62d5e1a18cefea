"""An issuer's published keys (a JWK set, RFC 7517), fetched when they are needed and kept for a while.

One fetch at a time, however many wait for it; a pause between two, so that tokens with invented key ids do
not turn into requests; a limit for size and time. Keys that could not be fetched anew end with their life:
the answer is then that there are none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from appliance.broker.identity.bounded_answer import Answer, read_bounded, within
from appliance.broker.identity.jwt_keys import VerificationKey, parse_key_set

MAX_DOCUMENT = 64 * 1024
FETCH_WITHIN = 5.0
LIFE = 600.0
"""Seconds for which fetched keys are good; one that the issuer withdraws is accepted no longer than that."""

PAUSE = 30.0
"""Seconds between the beginnings of two fetches."""

Fetch = Callable[[str], Awaitable[Answer]]
_log = Logger()


class KeysUnavailable(Exception):
    """There are no keys that could be trusted at this moment."""


class Jwks:
    """The keys at `url`. Raises `ValueError` for one that is not https."""

    def __init__(self, url: str, fetch: Fetch, clock: IReactorTime) -> None:
        if not url.startswith("https://"):
            raise ValueError("the address of a JWK set begins with https://")
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, VerificationKey] = {}
        self._good_until = self._next = float("-inf")
        self._fetching = False
        self._waiting: list[Deferred[None]] = []

    async def key(self, identity: str | None) -> VerificationKey | None:
        """The key with this id; None where the issuer publishes none. Raises `KeysUnavailable`."""
        if identity is None:
            return None
        known = self._keys.get(identity) if self._fresh else None
        if known is None and (self._fetching or self._clock.seconds() >= self._next):
            await self._fetched()
        if not self._fresh:
            raise KeysUnavailable
        return self._keys.get(identity)

    @property
    def _fresh(self) -> bool:
        return self._clock.seconds() < self._good_until

    def _fetched(self) -> Deferred[None]:
        """Fires when the fetch that is running, or now begins, is over. To cancel it ends the wait alone."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        if not self._fetching:
            self._fetching = True
            self._next = self._clock.seconds() + PAUSE
            running = Deferred.fromCoroutine(within(FETCH_WITHIN, self._clock, self._ask()))
            running.addCallbacks(self._install, self._failed)
            running.addBoth(self._landed)
        return waiter

    async def _ask(self) -> bytes:
        answer = await self._fetch(self._url)
        try:
            if answer.status != 200:
                raise KeysUnavailable
            return await read_bounded(answer, MAX_DOCUMENT)
        finally:
            answer.abort()

    def _install(self, document: bytes) -> None:
        try:
            self._keys = parse_key_set(document)
        except ValueError as error:
            _log.warn("the keys at {url} cannot be used: {why}", url=self._url, why=str(error))
            return
        self._good_until = self._clock.seconds() + LIFE

    def _failed(self, failure: Failure) -> None:
        # The kind alone: what an issuer's server says is nothing for our log.
        _log.warn("no keys from {url}: {why}", url=self._url, why=type(failure.value).__name__)

    def _landed(self, result: object) -> None:
        del result
        self._fetching = False
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)  # of no effect on one that was cancelled
