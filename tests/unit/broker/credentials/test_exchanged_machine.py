"""appliance.broker.credentials.exchanged under any order of calls, answers, cancellations and changed accounts."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from appliance.broker.credentials.exchanged import ExchangedTokens, Token
from appliance.broker.credentials.outgoing import CredentialError

from .support import NOW, Store, began, refresh

ACCOUNTS = ("github", "slack")
SECRETS = (refresh(), refresh(refresh_token="refresh-two"))
CAPACITY = 3
Place = tuple[str, int]


class Waiter:
    """A call that wants a token of one account's secret, and what it was told, once."""

    def __init__(self, place: Place, deferred: Deferred[str]) -> None:
        self.place = place
        self.deferred = deferred
        self.told: list[str | Failure] = []
        deferred.addBoth(self.told.append)


class Exchanges(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = ExchangedTokens(capacity=CAPACITY)
        self.now = NOW
        self.under_way: dict[Place, list[Deferred[Token]]] = {}
        self.issued: dict[str, tuple[Place, datetime]] = {}
        self.waiters: list[Waiter] = []
        self.current: dict[Place, Deferred[Token]] = {}

    async def exchange(self, place: Place) -> Token:
        answer: Deferred[Token] = Deferred()
        # At most one that is not forgotten: two at once would use a refresh token twice.
        assert place not in self.current
        self.current[place] = answer
        self.under_way.setdefault(place, []).append(answer)
        return await answer

    @rule(account=st.sampled_from(ACCOUNTS), which=st.sampled_from([0, 1]))
    def ask(self, account: str, which: int) -> None:
        place = (account, which)
        view = self.tokens.of("tenant", account, Store())
        deferred = began(view.token(SECRETS[which], "access", self.now, lambda: self.exchange(place)))
        waiter = Waiter(place, deferred)
        self.waiters.append(waiter)
        for told in waiter.told:  # at once: out of memory
            assert isinstance(told, Failure) or self.issued[told][1] > self.now

    @precondition(lambda self: any(self.under_way.values()))
    @rule(data=st.data(), outcome=st.sampled_from(["token", "token", "down", "revoked"]))
    def answer(self, data: st.DataObject, outcome: str) -> None:
        place = data.draw(st.sampled_from(sorted(p for p, waiting in self.under_way.items() if waiting)))
        answer = self.under_way[place].pop(data.draw(st.integers(0, len(self.under_way[place]) - 1)))
        if self.current.get(place) is answer:
            del self.current[place]
        if outcome == "token":
            text = f"token-{len(self.issued)}"
            ends = self.now + timedelta(seconds=data.draw(st.sampled_from([-5, 5, 300, 10_000])))
            self.issued[text] = (place, ends)
            answer.callback(Token(text, ends))
        elif outcome == "down":
            answer.errback(CredentialError("token-endpoint-failed", "Down."))
        else:
            answer.errback(CredentialError("refresh-revoked", "Gone."))

    @precondition(lambda self: any(not waiter.told for waiter in self.waiters))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from([waiter for waiter in self.waiters if not waiter.told])).deferred.cancel()

    @rule(account=st.sampled_from(ACCOUNTS))
    def change(self, account: str) -> None:
        self.tokens.forget("tenant", account)
        for place in [place for place in self.current if place[0] == account]:
            del self.current[place]
        assert all(waiter.told for waiter in self.waiters if waiter.place[0] == account)

    @rule(account=st.sampled_from(ACCOUNTS))
    def refuse(self, account: str) -> None:
        self.tokens.of("tenant", account, Store()).refused()

    @rule(seconds=st.sampled_from([1, 30, 61, 400, 4000]))
    def later(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def purge(self) -> None:
        self.tokens.purge(self.now)

    @invariant()
    def there_is_room(self) -> None:
        assert len(self.tokens) <= CAPACITY

    @invariant()
    def each_was_told_at_most_once_and_nothing_of_another(self) -> None:
        for waiter in self.waiters:
            assert len(waiter.told) <= 1
            for told in waiter.told:
                if isinstance(told, str):
                    place, _ = self.issued[told]
                    assert place == waiter.place

    @invariant()
    def whoever_waits_waits_for_something(self) -> None:
        for waiter in self.waiters:
            assert waiter.told or waiter.place in self.current

    def teardown(self) -> None:
        for waiter in self.waiters:
            waiter.deferred.cancel()


TestExchanges = Exchanges.TestCase
TestExchanges.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
