"""The gateway's client: pipelining, refusals, restarts of the resolver."""

import json

import pytest
from twisted.internet import error
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.resolver.client import RETRY_PAUSE, TIMEOUT, Resolved, ResolverClient, Unresolved

from .fakes import PUBLIC, name

OK = name("ok.example")


@implementer(IStreamClientEndpoint)
class ResolverSocket:
    def __init__(self):
        self.connections = []
        self.down = False

    def connect(self, factory):
        if self.down:
            return fail(error.ConnectionRefusedError())
        protocol, transport = factory.buildProtocol(None), StringTransport()
        self.connections.append((protocol, transport))
        protocol.makeConnection(transport)
        return succeed(protocol)

    def heard(self):
        transport = self.connections[-1][1]
        lines = transport.value().splitlines()
        transport.clear()
        return [json.loads(line) for line in lines]

    def say(self, **message):
        self.connections[-1][0].dataReceived(json.dumps(message).encode() + b"\n")

    def hang_up(self):
        self.connections[-1][0].connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def started():
    far, clock = ResolverSocket(), Clock()
    client = ResolverClient(far, clock)
    client.start()
    return far, clock, client


def begin(coroutine):
    results = []
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addBoth(results.append)
    return deferred, results


def test_questions_are_pipelined_and_answers_come_in_any_order(started):
    far, _, client = started
    _, first = begin(client.resolve("acme", OK))
    _, second = begin(client.pinned("acme", OK, PUBLIC))
    one, two = far.heard()
    assert one == {"op": "resolve", "tenant": "acme", "name": "ok.example", "id": one["id"]}
    begin(client.resolve("acme", OK, "crm"))
    assert far.heard()[-1]["account"] == "crm"
    assert two == {**one, "op": "pinned", "address": str(PUBLIC), "id": two["id"]}
    far.say(id=two["id"], ok=True, pinned=True)
    far.say(id=one["id"], ok=True, addresses=[str(PUBLIC)], ttl=60)
    assert second == [True]
    assert first == [Resolved((PUBLIC,), 60)]


def test_whose_question_it_is_is_told(started):
    far, _, client = started
    begin(client.resolve("acme", OK, endpoint="e1"))
    begin(client.pinned("acme", OK, PUBLIC, endpoint="e2"))
    assert [message["endpoint"] for message in far.heard()] == ["e1", "e2"]


def test_a_rate_is_told_from_other_refusals(started):
    far, _, client = started
    _, results = begin(client.resolve("acme", OK, endpoint="e1"))
    (asked,) = far.heard()
    far.say(id=asked["id"], ok=False, reason="queries-per-second-exceeded", detail="No.", outcome="denied")
    assert results[0].value.over_rate
    assert results[0].value.concerns_asker
    assert not Unresolved("resolver-busy", "…").concerns_asker
    assert not Unresolved("endpoint-unknown", "…").over_rate


def test_a_refusal_carries_reason_rule_and_whether_it_was_decided(started):
    far, _, client = started
    _, results = begin(client.resolve("acme", OK))
    (asked,) = far.heard()
    far.say(id=asked["id"], ok=False, reason="host-not-listed", detail="No.", rule="r", outcome="denied")
    error = results[0].value
    assert isinstance(error, Unresolved)
    assert (error.reason, error.detail, error.rule, error.denied) == ("host-not-listed", "No.", "r", True)


def test_an_error_of_the_control_socket_is_a_failure_not_a_denial(started):
    far, _, client = started
    _, results = begin(client.pinned("acme", OK, PUBLIC))
    (asked,) = far.heard()
    far.say(id=asked["id"], ok=False, error="not-permitted", detail="No.")
    assert results[0].value.reason == "not-permitted"
    assert not results[0].value.denied


@pytest.mark.parametrize("answer", [{"pinned": "true"}, {"pinned": 1}, {}, {"pinned": False}])
def test_only_a_plain_true_is_pinned(started, answer):
    far, _, client = started
    _, results = begin(client.pinned("acme", OK, PUBLIC))
    (asked,) = far.heard()
    far.say(id=asked["id"], ok=True, **answer)
    assert results == [False]


@pytest.mark.parametrize(
    "answer", [{}, {"addresses": ["x"], "ttl": 1}, {"addresses": 3, "ttl": 1}, {"addresses": [], "ttl": None}]
)
def test_an_answer_of_another_shape_gives_no_address(started, answer):
    far, _, client = started
    _, results = begin(client.resolve("acme", OK))
    (asked,) = far.heard()
    far.say(id=asked["id"], ok=True, **answer)
    assert results[0].value.reason == "resolver-unavailable"


def test_a_restart_of_the_resolver_is_not_noticed(started):
    far, clock, client = started
    _, results = begin(client.resolve("acme", OK))
    far.hang_up()
    assert results == []
    clock.advance(RETRY_PAUSE)
    clock.advance(0.5)
    assert len(far.connections) == 2
    (asked,) = far.heard()
    far.say(id=asked["id"], ok=True, addresses=[str(PUBLIC)], ttl=60)
    assert results == [Resolved((PUBLIC,), 60)]


def test_a_resolver_that_stays_away_or_silent_is_unavailable(started):
    far, clock, client = started
    _, silent = begin(client.resolve("acme", OK))
    clock.advance(TIMEOUT)
    assert silent[0].value.reason == "resolver-unavailable"
    far.down = True
    far.hang_up()
    _, away = begin(client.resolve("acme", OK))
    clock.pump([0.5] * 13)
    assert away[0].value.reason == "resolver-unavailable"
    assert client._waiting == 0


def test_a_late_answer_is_passed_over(started):
    far, clock, client = started
    begin(client.resolve("acme", OK))[1].clear()
    (asked,) = far.heard()
    clock.advance(TIMEOUT)
    far.say(id=asked["id"], ok=True, addresses=[str(PUBLIC)], ttl=60)
    far.say(id="x", ok=True)
    far.say(ok=True)
    _, results = begin(client.pinned("acme", OK, PUBLIC))
    (asked,) = far.heard()
    far.say(id=asked["id"], ok=True, pinned=True)
    assert results == [True]


def test_the_number_of_waiting_questions_is_bounded(started, monkeypatch):
    monkeypatch.setattr("appliance.resolver.client.MAX_WAITING", 16)
    far, _, client = started
    waiting = [begin(client.resolve("acme", OK)) for _ in range(16)]
    _, results = begin(client.resolve("acme", OK))
    assert results[0].value.reason == "resolver-unavailable"
    assert len(far.heard()) == 16
    for deferred, _ in waiting:
        deferred.cancel()
    assert client._waiting == 0


def test_a_stopped_client_answers_nobody(started):
    far, clock, client = started
    client.stop()
    far.hang_up()
    clock.advance(60)
    assert len(far.connections) == 1
