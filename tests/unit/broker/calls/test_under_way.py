"""Calls under way: they end on record when what they are made with is taken away, and are kept by nobody."""

from __future__ import annotations

import gc

from appliance.broker.calls import refusals
from appliance.broker.calls.call import Call
from appliance.broker.calls.connection import CallConnection
from appliance.broker.calls.under_way import UnderWay
from tests.unit.broker.calls.support import Neighbours
from tests.unit.gateway.support import Wire


class Watched(Neighbours):
    """Its calls are under way."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = UnderWay()
        self.connection = self.connected()

    def connected(self) -> CallConnection:
        made = CallConnection(0, self.begin)
        made.transport = self.worker = Wire()
        return made

    def begin(self, *found) -> Call:
        call = Call(self.means, *found)
        self.under_way.add(call)
        return call


def everything(attestation, account) -> bool:
    return True


def test_a_call_that_was_sent_is_cut_and_its_record_says_why() -> None:
    n = Watched()
    n.get()
    n.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70000)
    assert n.said
    n.under_way.end(everything, refusals.ACCOUNT_WITHDRAWN)
    assert n.worker.aborted
    assert n.upstreams[-1].transport.aborted
    assert (n.record.reason, n.record.outcome, n.record.status) == ("account-withdrawn", "denied", 200)
    assert n.audit.open_claims == 0


def test_a_call_whose_answer_has_not_begun_is_refused() -> None:
    n = Watched()
    n.get()
    n.under_way.end(everything, refusals.VAULT_LOCKED)
    assert b"HTTP/1.1 503" in n.said
    assert b"vault-locked" in n.said
    assert n.held[0].closed
    assert (n.record.reason, n.record.outcome) == ("vault-locked", "failed")


def test_only_those_that_are_meant_end_and_those_that_are_over_stay_so() -> None:
    n = Watched()
    n.get()
    asked: list[tuple] = []
    n.under_way.end(lambda *call: asked.append(call) is not None, refusals.ACCOUNT_WITHDRAWN)
    assert [(one.request_id, account.name) for one, account in asked] == [("id-1", "crm")]
    n.answer()
    n.under_way.end(everything, refusals.ACCOUNT_WITHDRAWN)
    assert n.record.outcome == "allowed"


def test_a_call_that_was_refused_has_no_account() -> None:
    n = Watched()
    n.get("/other")
    accounts: list[object] = []
    n.under_way.end(lambda _, account: accounts.append(account) is not None, refusals.ACCOUNT_WITHDRAWN)
    assert set(accounts) <= {None}


def test_what_is_over_is_kept_by_nobody() -> None:
    n = Watched()
    n.get()
    n.answer()
    n.upstreams.clear()
    n.rested.clear()
    n.connection = n.connected()
    gc.collect()
    assert len(n.under_way._calls) == 0
