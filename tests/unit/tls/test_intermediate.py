"""appliance.tls.intermediate: what a worker accepts from the broker, and when it asks again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.ipc import Message
from appliance.tls.authority import issue_intermediate, issue_root, new_key
from appliance.tls.intermediate import (
    ANSWER_WITHIN,
    BrokerRefused,
    Intermediate,
    Renewal,
    request_intermediate,
)

from .chains import NOW, make_intermediate, pem

ROOT_KEY = new_key()
ROOT = issue_root(ROOT_KEY, "lab", NOW)


def sign(csr: str) -> x509.Certificate:
    return issue_intermediate(ROOT, ROOT_KEY, x509.load_pem_x509_csr(csr.encode()), "lab", NOW)


class Broker:
    """An endpoint whose other end answers each question with `answer`; None: stays silent; b"": hangs up."""

    def __init__(self, answer: Callable[[Message], Message | bytes | None]) -> None:
        self.answer = answer
        self.transport = StringTransport()

    def connect(self, factory: Any) -> Deferred[Any]:
        protocol = factory.buildProtocol(UNIXAddress("broker"))
        protocol.makeConnection(self.transport)
        write = self.transport.write

        def heard(data: bytes) -> None:
            write(data)
            reply = self.answer(json.loads(data))
            if reply == b"":
                protocol.connectionLost(Failure(ConnectionDone()))
            elif isinstance(reply, dict):
                protocol.dataReceived(json.dumps(reply).encode() + b"\n")

        self.transport.write = heard  # type: ignore[method-assign]  # a transport that answers
        connected: Deferred[Any] = Deferred()
        connected.callback(protocol)
        return connected


def ask(
    answer: Callable[[Message], Message | bytes | None], clock: Clock | None = None
) -> tuple[Broker, list[Any]]:
    broker = Broker(answer)
    results: list[Any] = []
    asked = Deferred.fromCoroutine(request_intermediate(broker, clock or Clock()))  # type: ignore[arg-type]  # duck
    asked.addBoth(results.append)
    return broker, results


def refusal(results: list[Any]) -> str:
    (result,) = results
    assert isinstance(result, Failure)
    result.trap(BrokerRefused)
    return str(result.value)


def test_a_signed_key_becomes_an_intermediate_and_the_key_is_never_sent() -> None:
    asked: list[Message] = []

    def answer(message: Message) -> Message:
        asked.append(message)
        return {"ok": True, "certificate": pem(sign(message["csr"])), "root": pem(ROOT)}

    broker, results = ask(answer)
    (intermediate,) = results
    assert isinstance(intermediate, Intermediate)
    assert intermediate.certificate.public_key() == intermediate.key.public_key()
    assert set(asked[0]) == {"op", "csr"}
    assert b"PRIVATE" not in broker.transport.value()
    assert broker.transport.disconnecting


def test_a_refusal_is_passed_on() -> None:
    assert "audit-unavailable" in refusal(
        ask(lambda _: {"ok": False, "error": "audit-unavailable", "detail": "x"})[1]
    )


def test_a_certificate_for_another_key_is_not_used() -> None:
    other = make_intermediate()
    answer = {"ok": True, "certificate": pem(other.certificate), "root": pem(other.root)}
    assert "another key" in refusal(ask(lambda _: answer)[1])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answer: answer.pop("root"),
        lambda answer: answer.update(certificate="nonsense"),
        lambda answer: answer.update(certificate=3),
        lambda answer: answer.update(root=pem(make_intermediate().root)),
    ],
    ids=["no-root", "no-pem", "no-text", "another-root"],
)
def test_an_answer_that_is_no_certificate_of_its_root_is_not_used(spoil: Callable[[Message], object]) -> None:
    def answer(message: Message) -> Message:
        good: Message = {"ok": True, "certificate": pem(sign(message["csr"])), "root": pem(ROOT)}
        spoil(good)
        return good

    assert "no certificate of its root" in refusal(ask(answer)[1])


def test_a_broker_that_hangs_up_is_said() -> None:
    assert "hung up" in refusal(ask(lambda _: b"")[1])


def test_a_silent_broker_is_not_waited_for_forever() -> None:
    clock = Clock()
    broker, results = ask(lambda _: None, clock)
    assert results == []
    clock.advance(ANSWER_WITHIN)
    results[0].trap(DeferTimeout)
    assert broker.transport.disconnecting


class Source:
    def __init__(self) -> None:
        self.asked = 0
        self.failing = False
        self.made = make_intermediate()

    async def __call__(self) -> Intermediate:
        self.asked += 1
        if self.failing:
            raise ConnectError
        return self.made


def test_it_is_renewed_at_half_life() -> None:
    clock, source, installed = Clock(), Source(), []
    Renewal(clock, source, installed.append).start()
    assert len(installed) == 1
    half = timedelta(hours=12, minutes=30).total_seconds()  # of 24 h and the hour it is backdated
    clock.advance(half - 1)
    assert len(installed) == 1
    clock.advance(1)
    assert len(installed) == 2


def test_failures_are_tried_again_with_growing_pauses() -> None:
    clock, source, installed = Clock(), Source(), []
    source.failing = True
    Renewal(clock, source, installed.append).start()
    pauses = []
    for _ in range(9):
        (call,) = clock.getDelayedCalls()
        pauses.append(call.getTime() - clock.seconds())
        clock.advance(pauses[-1])
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    source.failing = False
    clock.advance(30)
    assert len(installed) == 1


def test_stopping_stops() -> None:
    clock, source = Clock(), Source()
    renewal = Renewal(clock, source, lambda _: None)
    renewal.start()
    renewal.stop()
    assert clock.getDelayedCalls() == []


def test_stopping_while_asking_does_not_ask_again() -> None:
    clock = Clock()

    async def never() -> Intermediate:
        return await Deferred[Intermediate]()

    renewal = Renewal(clock, never, lambda _: None)
    renewal.start()
    renewal.stop()
    assert clock.getDelayedCalls() == []
