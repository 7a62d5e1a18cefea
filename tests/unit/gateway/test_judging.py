"""A request's way through origin, verdict, record and limits, in this order."""

from __future__ import annotations

import pytest

from appliance.gateway.exchange import Exchange
from appliance.gateway.judging import judge

from .support import limited, plain, request, worker


def judged(shared, *arguments: str):
    exchange = Exchange("id", request(*arguments), 0.0)
    return judge(shared, plain(), exchange), exchange


def test_what_may_go_on_has_a_claim_and_a_flow() -> None:
    shared = worker()
    refusal, exchange = judged(shared, "/x?a=b")
    assert refusal is None
    assert exchange.facts.query == (("a", "b"),)
    assert shared.audit.open_claims == 1
    assert exchange.flow is not None


def test_a_denied_request_claims_nothing_and_uses_no_flow() -> None:
    shared = worker(policy=limited("destination", connections=1))
    for _ in range(3):
        refusal, exchange = judged(shared, "/", "site.net", "DELETE")
        assert refusal.reason == "method-not-allowed"
        assert exchange.flow is None
    assert shared.audit.open_claims == 0
    assert judged(shared)[0] is None


def test_the_destination_has_limits_of_its_own_f4() -> None:
    shared = worker(policy=limited("destination", connections=1))
    _, first = judged(shared)
    refusal, _ = judged(shared)
    assert (refusal.status, refusal.reason) == (429, "connections-exceeded")
    assert (refusal.rule, refusal.retry_after) == ("limits.destination.connections", 1)
    first.flow.close()
    assert judged(shared)[0] is None


def test_without_room_for_a_record_nothing_goes_on_f7() -> None:
    shared = worker()
    shared.audit.ready = False
    refusal, exchange = judged(shared)
    assert refusal.reason == "audit-unavailable"
    assert exchange.flow is None


def test_data_in_a_target_is_told_and_let_through_f1() -> None:
    shared = worker()
    text = "".join(chr(97 + number * 7 % 26) + str(number % 10) for number in range(60))
    refusal, exchange = judged(shared, f"/x?q={text}")
    assert refusal is None
    assert exchange.signals == ("high-entropy-target",)
    assert shared.budget.tallies["e1"].signals == 1
    assert judged(shared, "/x?q=words")[1].signals == ()


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        ("/", ("Authorization: Bearer agentsecrets://openai",)),
        ("/", ("X-Api-Key: hb_cred_" + "A" * 32,)),
        ("/?key=hb_cred_" + "A" * 32, ()),
        ("/?key=agentsecrets:%2F%2Fopenai", ()),
    ],
)
def test_000_62_001_08_what_stands_for_a_secret_goes_nowhere_else(
    target: str, lines: tuple[str, ...]
) -> None:
    shared = worker()
    refusal, _ = judged(shared, target, "site.net", "GET", *lines)
    assert (refusal.status, refusal.reason) == (403, "secret-not-bound")
    assert shared.audit.open_claims == 0


@pytest.mark.parametrize("said", [(), ("high-entropy-target",), ("deny", "risk=100"), ("allow",)])
def test_000_30_000_32_an_annotation_changes_no_decision(
    monkeypatch: pytest.MonkeyPatch, said: tuple[str, ...]
) -> None:
    """The one annotation that there is, whatever it says and where it says nothing."""
    monkeypatch.setattr("appliance.gateway.judging.signals", lambda *_target: said)
    refusal, exchange = judged(worker(), "/x")
    assert refusal is None
    assert exchange.signals == said
    refusal, exchange = judged(worker(), "/", "site.net", "DELETE")
    assert refusal.reason == "method-not-allowed"
    assert exchange.signals == ()
