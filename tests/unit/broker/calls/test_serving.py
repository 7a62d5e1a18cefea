"""The wiring: a departure and the end of the process leave no handle alive; no token outlives its end for long."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import certifi
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from appliance.broker.calls.serving import Calls
from appliance.broker.credentials.exchanged import Token
from appliance.broker.handles import Bound
from appliance.broker.vault.kinds import StaticSecret
from appliance.endpoints import EndpointTable
from appliance.settings import Settings
from tests.unit.broker.calls.support import ATTESTED, SECRET
from tests.unit.gateway.support import ENDPOINT, Log

BOUND = Bound("acme", ENDPOINT.id, "crm")


@pytest.fixture
def clock() -> MemoryReactorClock:
    return MemoryReactorClock()


async def nobody_expelled(*_):
    pass


@pytest.fixture
def calls(clock: MemoryReactorClock) -> Calls:
    async def in_thread(function, *arguments):
        return function(*arguments)

    async def no_session(*_):
        return False

    return Calls(
        clock, Settings(upstream_ca=Path(certifi.where())), None,
        policy=lambda tenant: None, endpoints=EndpointTable(), audit=Log(), in_thread=in_thread,
        is_session=no_session, own=lambda *found: ("own", *found), expel=nobody_expelled, now=lambda: datetime.fromtimestamp(clock.seconds(), UTC),
    )  # fmt: skip


def handle(calls: Calls) -> str:
    return calls.handles.register(BOUND, StaticSecret(kind="static", value=SECRET), lambda: None)


def test_004_11_a_container_that_leaves_has_no_handles_any_more(calls: Calls) -> None:
    alive = handle(calls)
    calls.departed(ENDPOINT)
    assert calls.handles.resolve(alive, BOUND) is None


def test_004_06_at_the_end_of_the_process_every_handle_is_dead(calls: Calls) -> None:
    alive = handle(calls)
    calls.start()
    calls.stop()
    assert calls.handles.resolve(alive, BOUND) is None


def test_an_exchanged_token_that_has_ended_is_dropped_without_traffic(
    calls: Calls, clock: MemoryReactorClock
) -> None:
    async def exchange() -> Token:
        return Token("access-token", datetime.fromtimestamp(clock.seconds() + 90, UTC))

    calls.start()
    account = calls._exchanged.of("acme", "crm", None)
    material = StaticSecret(kind="static", value=SECRET)
    Deferred.fromCoroutine(
        account.token(material, "access", datetime.fromtimestamp(clock.seconds(), UTC), exchange)
    )
    clock.advance(60)
    assert len(calls._exchanged) == 1
    clock.advance(60)
    assert len(calls._exchanged) == 0
    calls.stop()
    assert clock.getDelayedCalls() == []


def test_what_comes_without_an_account_is_not_a_call(calls: Calls) -> None:
    begin = calls.connections._begin
    attested = replace(ATTESTED, account="")
    assert begin("connection", attested, "head") == ("own", "connection", attested, "head")
