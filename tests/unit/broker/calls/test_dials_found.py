"""What the broker need not ask a worker again, and when it does."""

from __future__ import annotations

import json

import pytest

from appliance.broker.calls.dials import CallRefused
from tests.unit.gateway.support import PUBLIC, SITE, web_policy

from .test_dials import Unix, connected, found

POLICY = web_policy()


class Between:
    """The broker's end, and a worker that answers what it is asked for."""

    def __init__(self) -> None:
        self.clock, self.dials, self.channel, self.wire = connected()
        self.introduce(self.channel)

    def introduce(self, channel) -> None:
        channel.dataReceived(b'{"worker":0}\n')

    def find(self, policy=POLICY, *, account=None, port=443):
        """The addresses, and whether the worker was asked for them."""
        before = self.channel._next
        results = found(self.dials.find(0, "acme", SITE, port, policy=policy, account=account))
        if not results:
            answer = {"id": self.channel._next, "ok": True, "addresses": [str(PUBLIC)], "holds": 3.0}
            self.channel.dataReceived(json.dumps(answer).encode() + b"\n")
        (result,) = results
        assert result == (PUBLIC,)
        return self.channel._next > before


def test_a_worker_is_asked_once_while_its_word_holds() -> None:
    n = Between()
    assert [n.find(), n.find()] == [True, False]
    n.clock.advance(2.9)
    assert not n.find()
    n.clock.advance(0.1)
    assert n.find()


def test_its_word_holds_from_the_question_and_not_from_the_answer() -> None:
    n = Between()
    results = found(n.dials.find(0, "acme", SITE, 443, policy=POLICY))
    n.clock.advance(2)
    n.channel.dataReceived(b'{"id":1,"ok":true,"addresses":["93.184.215.14"],"holds":3}\n')
    assert results
    n.clock.advance(0.9)
    assert not n.find()
    n.clock.advance(0.1)
    assert n.find()


def test_a_policy_that_was_read_anew_asks_again() -> None:
    n = Between()
    n.find()
    assert n.find(web_policy())


def test_what_was_asked_under_an_earlier_policy_says_nothing_of_a_later() -> None:
    n = Between()
    n.find()
    later = web_policy()
    assert n.find(later)
    assert n.find(POLICY)


def test_what_the_broker_asks_for_itself_is_asked_each_time() -> None:
    n = Between()
    assert [n.find(account="crm"), n.find(account="crm"), n.find(), n.find(account="crm")] == [True] * 4
    assert [n.find(None), n.find(None)] == [True, True]


def test_a_worker_that_went_takes_its_word_along() -> None:
    n = Between()
    n.find()
    n.channel.connectionLost()
    results = found(n.dials.find(0, "acme", SITE, 443, policy=POLICY))
    assert isinstance(results[0].value, CallRefused)
    n.channel = n.dials.buildProtocol(None)
    n.channel.makeConnection(Unix())
    n.introduce(n.channel)
    assert n.find()


@pytest.mark.parametrize("answer", [b'{"id":2,"ok":false,"refusal":{}}', b'{"id":2}'])
def test_where_a_connection_was_refused_the_addresses_are_asked_for_again(answer: bytes) -> None:
    n = Between()
    n.find()
    results = found(n.dials.dial(0, "acme", SITE, 443, [PUBLIC]))
    n.channel.dataReceived(answer + b"\n")
    assert isinstance(results[0].value, CallRefused)
    assert n.find()


def test_a_refusal_is_not_kept() -> None:
    n = Between()
    results = found(n.dials.find(0, "acme", SITE, 443, policy=POLICY))
    n.channel.dataReceived(b'{"id":1,"ok":false,"holds":3,"addresses":["93.184.215.14"],"refusal":{}}\n')
    assert isinstance(results[0].value, CallRefused)
    assert n.find()
