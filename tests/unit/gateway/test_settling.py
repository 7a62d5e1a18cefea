"""However a request ends, it ends once: a record, and nothing held."""

from __future__ import annotations

from appliance.gateway import refusals
from appliance.gateway.exchange import Exchange
from appliance.gateway.judging import judge
from appliance.gateway.settling import settle

from .support import plain, request, worker


class Held:
    """A relay and its upstream connection."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.upstream = self

    def release(self) -> None:
        self.did.append("released")

    def abort(self) -> None:
        self.did.append("aborted")


def judged(made):
    exchange = Exchange("r1", request("/x"), made.seconds())
    assert judge(made, plain(), exchange) is None
    return exchange


def test_all_that_was_held_is_let_go_and_recorded() -> None:
    made = worker()
    exchange = judged(made)
    exchange.relay = held = Held()
    assert made.audit.open_claims == 1
    assert settle(made, plain(), exchange, None, "done well")
    assert held.did == ["released", "aborted"]
    assert exchange.flow._closed
    (record,) = made.audit.records
    assert (record.outcome, record.detail, made.audit.open_claims) == ("allowed", "done well", 0)


def test_a_denial_counts_and_needs_no_claim() -> None:
    made = worker()
    made.budget.tally("e1", "acme")
    assert settle(made, plain(), Exchange("r1", request(), 0.0), refusals.UPGRADE)
    assert made.audit.reasons == ["upgrade-not-allowed"]
    assert made.budget.tallies["e1"].denied == 1


def test_a_log_that_takes_nothing_is_said() -> None:
    made = worker()
    made.audit.ready = False
    assert not settle(made, plain(), Exchange("r1", request(), 0.0), refusals.UPGRADE)
