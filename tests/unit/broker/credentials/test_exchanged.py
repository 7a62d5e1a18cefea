"""appliance.broker.credentials.exchanged: asked for once, kept for a while, never for another account."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import globalLogPublisher

from appliance.broker.credentials.exchanged import ExchangedTokens, Token
from appliance.broker.credentials.outgoing import CredentialError

from .support import NOW, Store, began, exchanged, refresh, refusal, result

HOUR = timedelta(hours=1)
SECRET = refresh()
NEXT = refresh(refresh_token="refresh-two")
Exchange = Callable[[], Coroutine[Any, Any, Token]]


class Source:
    """Issues token-1, token-2 …; `held` answers wait for `answer`."""

    def __init__(self, life: timedelta = HOUR, *, held: bool = False, successor: bytes | None = None) -> None:
        self.asked = 0
        self.life = life
        self.successor = successor
        self.error: Exception | None = None
        self.held: list[Deferred[None]] | None = [] if held else None

    def at(self, now: datetime) -> Exchange:
        async def exchange() -> Token:
            self.asked += 1
            number = self.asked
            if self.held is not None:
                self.held.append(Deferred())
                await self.held[-1]
            if self.error is not None:
                raise self.error
            return Token(f"token-{number}", now + self.life, self.successor)

        return exchange

    def answer(self) -> None:
        assert self.held
        self.held.pop(0).callback(None)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_token_is_kept_until_shortly_before_its_end() -> None:
    source, account = Source(), exchanged()
    for moment, text in ((0, "token-1"), (3539, "token-1"), (3540, "token-2"), (3541, "token-2")):
        assert result(account.token(SECRET, "access", at(moment), source.at(at(moment)))) == text
    assert source.asked == 2


def test_of_a_short_life_the_last_fifth_is_left() -> None:
    source, account = Source(timedelta(seconds=10)), exchanged()
    for moment, text in ((0, "token-1"), (7.9, "token-1"), (8, "token-2")):
        assert result(account.token(SECRET, "access", at(moment), source.at(at(moment)))) == text


def test_no_token_is_kept_longer_than_an_hour_whatever_the_provider_says() -> None:
    source, account = Source(timedelta(days=300)), exchanged()
    result(account.token(SECRET, "access", at(0), source.at(at(0))))
    assert result(account.token(SECRET, "access", at(3541), source.at(at(3541)))) == "token-2"


def test_a_token_that_has_ended_already_is_not_kept() -> None:
    tokens = ExchangedTokens()
    source = Source(timedelta(seconds=-1))
    assert result(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW))) == "token-1"
    assert len(tokens) == 0


def test_many_who_want_a_token_at_once_wait_for_one_exchange() -> None:
    source, tokens = Source(held=True), ExchangedTokens()
    waiting = [began(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW))) for _ in range(20)]
    assert source.asked == 1
    source.answer()
    assert [result(waiter) for waiter in waiting] == ["token-1"] * 20
    assert source.asked == 1


def test_one_who_is_cancelled_leaves_the_exchange_to_the_others() -> None:
    source, account = Source(held=True), exchanged()
    first = began(account.token(SECRET, "access", NOW, source.at(NOW)))
    second = began(account.token(SECRET, "access", NOW, source.at(NOW)))
    first.cancel()
    with pytest.raises(CancelledError):
        result(first)
    source.answer()
    assert result(second) == "token-1"


def test_what_was_begun_is_finished_also_when_all_have_left() -> None:
    source, account = Source(held=True), exchanged()
    only = began(account.token(SECRET, "access", NOW, source.at(NOW)))
    only.addErrback(lambda _: None)
    only.cancel()
    source.answer()
    assert result(account.token(SECRET, "access", NOW, source.at(NOW))) == "token-1"
    assert source.asked == 1


def test_002_09_a_token_serves_no_other_account_secret_tenant_or_purpose() -> None:
    source, tokens = Source(), ExchangedTokens()
    given = [
        result(tokens.of(tenant, account, Store()).token(secret, purpose, NOW, source.at(NOW)))
        for tenant in ("a", "b")
        for account in ("github", "slack")
        for secret in (SECRET, NEXT)
        for purpose in ("read", "write")
    ]
    assert len(set(given)) == source.asked == 16


def test_a_mark_tells_secrets_apart_and_is_another_in_another_process() -> None:
    first, second = ExchangedTokens(), ExchangedTokens()
    assert first.mark(SECRET) == first.mark(refresh())
    assert len({first.mark(SECRET), first.mark(NEXT), second.mark(SECRET)}) == 3
    assert ExchangedTokens(key=b"x").mark(SECRET) == ExchangedTokens(key=b"x").mark(SECRET)


def test_a_failure_is_told_to_all_who_wait_and_the_next_asks_again() -> None:
    source, account = Source(held=True), exchanged()
    source.error = CredentialError("token-endpoint-failed", "Down.")
    waiting = [began(account.token(SECRET, "access", NOW, source.at(NOW))) for _ in range(3)]
    source.answer()
    errors = [refusal(waiter) for waiter in waiting]
    assert {error.code for error in errors} == {"token-endpoint-failed"}
    assert len({id(error) for error in errors}) == 3
    source.error, source.held = None, None
    assert result(account.token(SECRET, "access", NOW, source.at(NOW))) == "token-2"


def test_a_revoked_grant_is_remembered_for_a_minute() -> None:
    source, account = Source(), exchanged()
    source.error = CredentialError("refresh-revoked", "Gone.")
    for moment in (0, 1, 59):
        error = refusal(account.token(SECRET, "access", at(moment), source.at(at(moment))))
        assert (error.code, error.detail) == ("refresh-revoked", "Gone.")
    assert source.asked == 1
    source.error = None
    assert result(account.token(SECRET, "access", at(60), source.at(at(60)))) == "token-2"


def test_a_token_that_cannot_be_renewed_serves_until_its_end() -> None:
    source, account = Source(), exchanged()
    result(account.token(SECRET, "access", at(0), source.at(at(0))))
    source.error = CredentialError("token-endpoint-failed", "Down.")
    assert result(account.token(SECRET, "access", at(3599), source.at(at(3599)))) == "token-1"
    assert (
        refusal(account.token(SECRET, "access", at(3600), source.at(at(3600)))).code
        == "token-endpoint-failed"
    )
    assert source.asked == 3


def test_a_token_whose_grant_was_revoked_serves_no_longer() -> None:
    source, tokens = Source(), ExchangedTokens()
    account = exchanged(tokens)
    result(account.token(SECRET, "access", at(0), source.at(at(0))))
    assert len(tokens) == 1
    source.error = CredentialError("refresh-revoked", "Gone.")
    for _ in range(2):
        assert (
            refusal(account.token(SECRET, "access", at(3599), source.at(at(3599)))).code == "refresh-revoked"
        )
    assert len(tokens) == 0


def test_the_secret_that_came_in_the_place_of_the_old_one_has_the_token_too() -> None:
    tokens = ExchangedTokens()
    source = Source(successor=tokens.mark(NEXT))
    other = refresh(refresh_token="refresh-three")
    for secret, text in ((SECRET, "token-1"), (NEXT, "token-1"), (SECRET, "token-1"), (other, "token-2")):
        assert result(exchanged(tokens).token(secret, "access", NOW, source.at(NOW))) == text


@pytest.mark.parametrize("account", ["acme", None])
def test_a_changed_account_begins_anew(account: str | None) -> None:
    source, tokens = Source(), ExchangedTokens()
    result(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW)))
    tokens.forget("tenant", account)
    assert len(tokens) == 0
    assert result(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW))) == "token-2"


def test_everything_can_be_forgotten() -> None:
    held, source, tokens = Source(held=True), Source(), ExchangedTokens()
    result(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW)))
    waiter = began(exchanged(tokens).token(SECRET, "other", NOW, held.at(NOW)))
    tokens.forget_everything()
    assert refusal(waiter).code == "credential-withdrawn"
    assert len(tokens) == 0


def test_another_accounts_tokens_stay() -> None:
    source, tokens = Source(), ExchangedTokens()
    result(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW)))
    tokens.forget("tenant", "other")
    tokens.forget("other")
    assert result(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW))) == "token-1"


def test_what_was_under_way_for_a_changed_account_goes_nowhere() -> None:
    source, tokens = Source(held=True), ExchangedTokens()
    waiter = began(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW)))
    tokens.forget("tenant", "acme")
    assert refusal(waiter).code == "credential-withdrawn"
    second = began(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW)))
    source.answer()  # the first one's
    assert len(tokens) == 0
    source.answer()
    assert result(second) == "token-2"


def test_a_change_forgets_that_the_old_grant_was_revoked() -> None:
    source, tokens = Source(), ExchangedTokens()
    source.error = CredentialError("refresh-revoked", "Gone.")
    refusal(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW)))
    tokens.forget("tenant", "acme")
    source.error = None
    assert result(exchanged(tokens).token(SECRET, "access", NOW, source.at(NOW))) == "token-2"


def test_a_token_that_the_provider_refused_is_not_used_again() -> None:
    source, account = Source(), exchanged()
    result(account.token(SECRET, "access", NOW, source.at(NOW)))
    account.refused()
    assert result(account.token(SECRET, "access", NOW, source.at(NOW))) == "token-2"


def test_there_is_room_for_so_many_and_the_one_that_ends_first_goes() -> None:
    tokens = ExchangedTokens(capacity=3)
    for number, minutes in enumerate((30, 10, 20, 40)):
        source = Source(timedelta(minutes=minutes))
        result(exchanged(tokens, f"account-{number}").token(SECRET, "access", NOW, source.at(NOW)))
    assert len(tokens) == 3
    again = Source()
    kept = [
        result(exchanged(tokens, f"account-{n}").token(SECRET, "access", NOW, again.at(NOW)))
        for n in (0, 2, 3)
    ]
    assert (kept, again.asked) == (["token-1"] * 3, 0)


def test_what_has_ended_is_purged_without_traffic() -> None:
    tokens = ExchangedTokens()
    result(exchanged(tokens).token(SECRET, "access", NOW, Source().at(NOW)))
    tokens.purge(NOW + HOUR - timedelta(seconds=1))
    assert len(tokens) == 1
    tokens.purge(NOW + HOUR)
    assert len(tokens) == 0


def test_a_fault_of_ours_is_no_token_and_is_told_in_the_log() -> None:
    told: list[dict[str, Any]] = []
    source, account = Source(held=True), exchanged()
    source.error = ZeroDivisionError()
    waiter = began(account.token(SECRET, "access", NOW, source.at(NOW)))
    globalLogPublisher.addObserver(told.append)
    try:
        source.answer()
    finally:
        globalLogPublisher.removeObserver(told.append)
    with pytest.raises(ZeroDivisionError):
        result(waiter)
    assert [event["log_format"] for event in told] == ["a token could not be exchanged, by a fault of ours"]


def test_nothing_that_is_printed_shows_a_token() -> None:
    tokens = ExchangedTokens()
    result(exchanged(tokens).token(SECRET, "access", NOW, Source().at(NOW)))
    assert "token-1" not in repr(tokens) + repr(exchanged(tokens)) + repr(Token("token-1", NOW))
