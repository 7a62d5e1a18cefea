"""appliance.broker.identity.jwks: fetched once, for a while, within limits; without keys nobody is let in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher

from appliance.broker.identity.bounded_answer import Answer
from appliance.broker.identity.jwks import FETCH_WITHIN, LIFE, MAX_DOCUMENT, PAUSE, Jwks, KeysUnavailable

from .answers import Pieces, outcome
from .jwts import EC, ED, RSA, published

URL = "https://issuer.example/keys"


class Issuer:
    """Answers with `keys`, or as it is told."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.answers: list[Pieces] = []
        self.body = json.dumps({"keys": [published(EC)]}).encode()
        self.status = 200
        self.error: Exception | None = None
        self.silent: Deferred[Answer] | None = None
        self.jwks = Jwks(URL, self.fetch, self.clock)

    async def fetch(self, url: str) -> Answer:
        self.asked.append(url)
        if self.silent is not None:
            return await self.silent
        if self.error is not None:
            raise self.error
        self.answers.append(Pieces(self.body, 4096, self.status))
        return self.answers[-1]

    def publish(self, *keys: Any) -> None:
        self.body = json.dumps({"keys": list(keys)}).encode()

    def key(self, identity: str | None) -> Any:
        return outcome(self.jwks.key(identity))


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


def test_002_08_keys_are_fetched_when_they_are_needed_and_kept(issuer: Issuer) -> None:
    assert issuer.asked == []
    assert issuer.key("ec").algorithms == {"ES256"}
    for _ in range(5):
        assert issuer.key("ec") is not None
    assert issuer.asked == [URL]
    assert [answer.aborted for answer in issuer.answers] == [1]


def test_002_08_an_unknown_key_id_fetches_once_in_a_while(issuer: Issuer) -> None:
    issuer.key("ec")
    issuer.clock.advance(PAUSE)
    for number in range(50):
        assert issuer.key(f"invented-{number}") is None
    assert len(issuer.asked) == 2
    # A new key of the issuer's is found after the pause, at the latest.
    issuer.publish(published(EC), published(ED))
    assert issuer.key("ed") is None
    issuer.clock.advance(PAUSE)
    assert issuer.key("ed") is not None
    assert len(issuer.asked) == 3


def test_002_08_a_withdrawn_key_ends_with_the_life_of_the_set(issuer: Issuer) -> None:
    issuer.key("ec")
    issuer.publish(published(RSA))
    issuer.clock.advance(LIFE - 1)
    assert issuer.key("ec") is not None
    issuer.clock.advance(1)
    assert issuer.key("ec") is None
    assert issuer.key("rsa") is not None


@pytest.mark.parametrize(
    "wrong",
    [{"status": 500}, {"status": 302}, {"body": b"<html>canary</html>"}, {"body": b"[]"}, {"error": OSError("canary")},
     {"error": RuntimeError("canary")}, {"body": b" " * (MAX_DOCUMENT + 1)}],
)  # fmt: skip
def test_002_08_keys_that_cannot_be_had_let_nobody_in(issuer: Issuer, wrong: dict[str, Any]) -> None:
    told: list[LogEvent] = []
    globalLogPublisher.addObserver(told.append)
    try:
        good = issuer.body
        for name, value in wrong.items():
            setattr(issuer, name, value)
        assert isinstance(issuer.key("ec"), KeysUnavailable)
        # Not asked again before the pause is over, and then it may be well.
        assert isinstance(issuer.key("ec"), KeysUnavailable)
        assert len(issuer.asked) == 1
        issuer.body, issuer.status, issuer.error = good, 200, None
        issuer.clock.advance(PAUSE)
        assert issuer.key("ec") is not None
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert told
    assert "canary" not in repr(told)


def test_002_08_old_keys_outlive_a_failed_fetch_but_not_their_life(issuer: Issuer) -> None:
    issuer.key("ec")
    issuer.error = OSError()
    issuer.clock.advance(PAUSE)
    assert issuer.key("other") is None
    assert issuer.key("ec") is not None
    issuer.clock.advance(LIFE)
    assert isinstance(issuer.key("ec"), KeysUnavailable)


def test_002_08_no_more_is_read_than_a_document_may_have(issuer: Issuer) -> None:
    issuer.body = b" " * (10 * MAX_DOCUMENT)
    issuer.key("ec")
    assert issuer.answers[0].given == MAX_DOCUMENT + 1
    assert issuer.answers[0].aborted == 1


def test_002_08_an_issuer_that_hangs_is_given_up_and_many_wait_for_one_fetch(issuer: Issuer) -> None:
    cancelled: list[Deferred[Answer]] = []
    issuer.silent = Deferred(cancelled.append)
    seen: list[Any] = []
    for _ in range(3):
        Deferred.fromCoroutine(issuer.jwks.key("ec")).addBoth(seen.append)
    assert issuer.asked == [URL]
    issuer.clock.advance(FETCH_WITHIN)
    assert [failure.type for failure in seen] == [KeysUnavailable] * 3
    assert cancelled == [issuer.silent]
    assert not issuer.clock.getDelayedCalls()


def test_002_08_one_who_gives_up_does_not_end_the_fetch_for_the_others(issuer: Issuer) -> None:
    issuer.silent = Deferred()
    seen: list[Any] = []
    first = Deferred.fromCoroutine(issuer.jwks.key("ec"))
    second = Deferred.fromCoroutine(issuer.jwks.key("ec"))
    first.addErrback(lambda failure: seen.append(failure.type))
    second.addCallback(seen.append)
    first.cancel()
    issuer.silent.callback(Pieces(issuer.body))
    assert seen[0] is CancelledError
    assert seen[1].algorithms == {"ES256"}
    assert not issuer.clock.getDelayedCalls()


def test_002_08_a_token_without_a_key_id_asks_nobody(issuer: Issuer) -> None:
    assert issuer.key(None) is None
    assert issuer.asked == []


def test_002_08_keys_are_not_fetched_in_the_clear() -> None:
    with pytest.raises(ValueError):
        Jwks("http://issuer.example/keys", Issuer().fetch, Clock())
