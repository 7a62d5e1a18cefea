"""Connections, requests and bytes against their limits (F4): typed, fair, and nothing charged for a refusal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.limits.budget import LATELY, Budget, Exceeded, Flow, Measure, Payer, Scope
from appliance.limits.ledger import Ledger, Sheet
from appliance.limits.window import SECOND
from appliance.policy.limits import ScopeLimits, TenantLimits

WIDE = ScopeLimits(10**6, 10**6, 10**6, 10**12, 10**12)
LIMITS = TenantLimits(WIDE, WIDE, WIDE, window_seconds=60)


class Bench:
    """A budget with a clock of its own, and callers under limits."""

    def __init__(self, limits: TenantLimits = LIMITS) -> None:
        self.now = 100 * SECOND
        self.limits = limits
        self.ledgers: dict[str, Ledger] = {}
        self.budget = Budget(lambda tenant: self.ledgers.setdefault(tenant, Ledger()), lambda: self.now)

    def payer(self, endpoint: str = "e1", tenant: str = "acme") -> Payer:
        return Payer(endpoint, tenant, self.limits)

    def flow(self, destination: str = "a.net:443", endpoint: str = "e1") -> Flow:
        flow = self.budget.flow(self.payer(endpoint), destination)
        assert isinstance(flow, Flow)
        return flow


def narrowed(scope: str, **bounds: int) -> TenantLimits:
    return replace(LIMITS, **{scope: replace(WIDE, **bounds)})


def test_connections_of_a_container_are_bounded_and_come_back() -> None:
    bench = Bench(narrowed("container", connections=2))
    assert [bench.budget.connect(bench.payer()) for _ in range(2)] == [None, None]
    exceeded = bench.budget.connect(bench.payer())
    assert exceeded == Exceeded(Scope.CONTAINER, Measure.CONNECTIONS, 2, 1)
    assert exceeded.reason == "connections-exceeded"
    assert exceeded.path == "limits.container.connections"
    assert bench.budget.connect(bench.payer("e2")) is None
    bench.budget.disconnect("e1", "acme")
    assert bench.budget.connect(bench.payer()) is None


def test_connections_of_a_tenant_are_bounded_over_its_containers_and_no_other_tenant_feels_it() -> None:
    bench = Bench(narrowed("tenant", connections=3))
    found = [bench.budget.connect(bench.payer(f"e{n}")) for n in range(4)]
    assert found[:3] == [None] * 3
    assert found[3] is not None
    assert found[3].scope is Scope.TENANT
    assert bench.budget.connect(bench.payer("o1", "other")) is None


def test_new_connections_a_second() -> None:
    bench = Bench(narrowed("container", new_connections_per_second=5))
    for _ in range(5):
        assert bench.budget.connect(bench.payer()) is None
        bench.budget.disconnect("e1", "acme")
    exceeded = bench.budget.connect(bench.payer())
    assert exceeded is not None
    assert exceeded.reason == "new-connections-per-second-exceeded"
    bench.now += exceeded.retry_after * SECOND
    assert bench.budget.connect(bench.payer()) is None


@pytest.mark.parametrize("scope", ["container", "tenant"])
def test_requests_a_second(scope: str) -> None:
    bench = Bench(narrowed(scope, requests_per_second=10))
    assert [bench.budget.request(bench.payer()) for _ in range(10)] == [None] * 10
    exceeded = bench.budget.request(bench.payer())
    assert exceeded is not None
    assert (exceeded.scope, exceeded.reason) == (scope, "requests-per-second-exceeded")
    assert 1 <= exceeded.retry_after <= 2
    bench.now += exceeded.retry_after * SECOND
    assert bench.budget.request(bench.payer()) is None


def test_what_is_refused_uses_up_nothing() -> None:
    """Or a container over its own limit would use up its tenant's."""
    bench = Bench(
        replace(
            narrowed("container", requests_per_second=1, new_connections_per_second=1),
            tenant=replace(WIDE, requests_per_second=3, new_connections_per_second=3),
        )
    )
    for _ in range(50):
        bench.budget.request(bench.payer())
        bench.budget.connect(bench.payer())
    for name in ("e2", "e3"):
        assert bench.budget.request(bench.payer(name)) is None
        assert bench.budget.connect(bench.payer(name)) is None


def test_a_destination_has_bounds_of_its_own() -> None:
    bench = Bench(narrowed("destination", connections=1, requests_per_second=2))
    flow = bench.flow()
    exceeded = bench.budget.flow(bench.payer("e2"), "a.net:443")
    assert exceeded == Exceeded(Scope.DESTINATION, Measure.CONNECTIONS, 1, 1)
    assert isinstance(bench.budget.flow(bench.payer("e2"), "b.net:443"), Flow)
    flow.close()
    flow.close()
    bench.flow().close()
    exceeded = bench.budget.flow(bench.payer(), "a.net:443")
    assert isinstance(exceeded, Exceeded)
    assert exceeded.measure is Measure.REQUESTS


def test_dials_to_a_destination_are_bounded() -> None:
    bench = Bench(narrowed("destination", new_connections_per_second=2))
    assert [bench.budget.dial(bench.payer(), "a.net:443") for _ in range(2)] == [None, None]
    exceeded = bench.budget.dial(bench.payer(), "a.net:443")
    assert exceeded is not None
    assert exceeded.path == "limits.destination.new_connections_per_second"
    assert bench.budget.dial(bench.payer(), "b.net:443") is None


@pytest.mark.parametrize("scope", ["container", "tenant", "destination"])
@pytest.mark.parametrize("measure", ["bytes_out", "bytes_in"])
def test_bytes_cut_a_flow_and_refuse_the_next_until_the_window_has_moved(scope: str, measure: str) -> None:
    bench = Bench(narrowed(scope, **{measure: 1000}))
    flow = bench.flow()
    charge = flow.sent if measure == "bytes_out" else flow.received
    assert charge(1000) is None
    exceeded = charge(1)
    assert exceeded is not None
    assert (exceeded.scope, exceeded.measure, exceeded.limit) == (scope, measure, 1000)
    assert exceeded.reason == f"{measure.replace('_', '-')}-exceeded"
    assert 1 <= exceeded.retry_after <= 120
    flow.close()
    if scope == "destination":
        refused = bench.budget.flow(bench.payer(), "a.net:443")
    else:
        refused = bench.budget.request(bench.payer())
    assert isinstance(refused, Exceeded)
    assert refused.measure == measure
    bench.now += refused.retry_after * SECOND
    assert bench.budget.request(bench.payer()) is None
    bench.flow().close()


@pytest.mark.parametrize("scope", ["container", "tenant", "destination"])
@pytest.mark.parametrize("measure", ["bytes_out", "bytes_in"])
def test_a_flow_takes_other_limits_of_its_payer_f4(scope: str, measure: str) -> None:
    bench = Bench()
    flow = bench.flow()
    charge = flow.sent if measure == "bytes_out" else flow.received
    assert charge(900) is None
    flow.replace_limits(narrowed(scope, **{measure: 1000}))
    assert charge(100) is None
    exceeded = charge(1)
    assert exceeded is not None
    assert (exceeded.scope, exceeded.measure, exceeded.limit) == (scope, measure, 1000)
    flow.replace_limits(LIMITS)
    assert charge(1000) is None


def test_what_a_flow_had_before_its_limits_were_lowered_counts_under_them_f4() -> None:
    bench = Bench()
    flow = bench.flow()
    assert flow.sent(5000) is None
    flow.replace_limits(narrowed("tenant", bytes_out=1000))
    assert isinstance(flow.sent(1), Exceeded)


def test_a_flow_counts_in_the_windows_of_the_requests_beside_it_f4() -> None:
    """Or its charges, and theirs, would clear each other's count."""
    bench = Bench()
    flow = bench.flow()
    bench.limits = replace(narrowed("container", bytes_in=1000), window_seconds=3600)
    flow.replace_limits(bench.limits)
    assert isinstance(flow.received(1001), Exceeded)
    assert isinstance(bench.budget.request(bench.payer()), Exceeded)


def test_a_tenants_bytes_are_counted_over_workers() -> None:
    limits = narrowed("tenant", bytes_out=1000)
    sheets = Sheet(), Sheet()
    now = 100 * SECOND
    one = Budget(lambda _: Ledger(sheets[0], [sheets[1]]), lambda: now)
    other = Budget(lambda _: Ledger(sheets[1], [sheets[0]]), lambda: now)
    flow = one.flow(Payer("e1", "acme", limits), "a.net:443")
    assert isinstance(flow, Flow)
    flow.sent(1000)
    refused = other.request(Payer("e2", "acme", limits))
    assert refused is not None
    assert refused.path == "limits.tenant.bytes_out"


def test_frames_of_a_container_are_bounded_by_a_limit_of_their_own_f4() -> None:
    bench = Bench(replace(LIMITS, frames_per_second=10))
    assert bench.budget.frames(bench.payer(), 10) is None
    exceeded = bench.budget.frames(bench.payer(), 1)
    assert exceeded is not None
    assert (exceeded.reason, exceeded.path) == ("frames-per-second-exceeded", "limits.frames_per_second")
    assert bench.budget.tally("e1", "acme").throttled == 1
    assert bench.budget.frames(bench.payer("e2"), 10) is None
    bench.now += 2 * SECOND
    assert bench.budget.frames(bench.payer(), 10) is None


def test_the_tally_of_a_container_that_left_stays_with_its_tenant() -> None:
    bench = Bench(narrowed("container", requests_per_second=2))
    for _ in range(3):
        bench.budget.request(bench.payer())
    bench.flow().received(7)
    bench.budget.denied("e1")
    tally = bench.budget.tallies["e1"]
    assert (tally.requests, tally.throttled, tally.denied, tally.bytes_in) == (3, 1, 1, 7)
    assert bench.budget.rate(tally) == 2
    bench.budget.forget("e1")
    bench.budget.forget("e1")
    bench.budget.denied("e1")
    bench.budget.disconnect("e1", "acme")
    assert bench.budget.tallies == {}
    gone = bench.budget.departed["acme"]
    assert (gone.requests, gone.throttled, gone.denied, gone.bytes_in) == (3, 1, 1, 7)


def test_a_ledger_that_cannot_be_opened_admits_nothing() -> None:
    def closed(_tenant: str) -> Ledger:
        raise OSError("no space")

    budget = Budget(closed, lambda: 0)
    for ask in (budget.connect, budget.request, lambda payer: budget.flow(payer, "a.net:443")):
        with pytest.raises(OSError, match="no space"):
            ask(Payer("e1", "acme", LIMITS))


def test_how_full_the_limits_are_is_looked_up_without_charging() -> None:
    bench = Bench(narrowed("destination", requests_per_second=4))
    bench.budget.connect(bench.payer())
    flow = bench.flow()
    flow.received(7)

    def seen() -> dict[tuple[str, str, str], tuple[int, int]]:
        found = (
            *bench.budget.fills_of_container("e1", bench.limits),
            *bench.budget.fills_of_tenant("acme", bench.limits),
        )
        return {(fill.scope, fill.of, fill.measure): (fill.used, fill.limit) for fill in found}

    first = seen()
    assert first == seen()
    assert len(first) == 6 + 5 + 5
    assert first["destination", "a.net:443", "requests_per_second"] == (1, 4)
    assert first["destination", "a.net:443", "connections"] == (1, 10**6)
    assert first["container", "e1", "bytes_in"] == first["tenant", "", "bytes_in"] == (7, 10**12)
    assert list(bench.budget.fills_of_container("nobody", bench.limits)) == []


def test_destinations_are_remembered_by_name_within_bounds_the_latest_first() -> None:
    bench = Bench()
    for number in range(LATELY + 5):
        bench.flow(f"n{number}.net:443").close()
    bench.flow("n10.net:443").close()
    named = [fill.of for fill in bench.budget.fills_of_tenant("acme", bench.limits) if fill.of]
    once = list(dict.fromkeys(named))
    assert once[:2] == ["n10.net:443", f"n{LATELY + 4}.net:443"]
    assert len(once) == LATELY
