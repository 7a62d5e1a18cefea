from __future__ import annotations

from appliance.gateway.usage import usage

from .support import ENDPOINT, limited, worker


def test_usage_names_the_container_and_what_it_had() -> None:
    shared = worker()
    caller = shared.charged(ENDPOINT)
    assert shared.budget.connect(caller) is None
    assert shared.budget.request(caller) is None
    flow = shared.budget.flow(caller, "site.net:443")
    flow.sent(10)
    flow.received(20)
    (row,) = usage(shared)["endpoints"]
    assert row == {
        "id": "e1", "tenant": "acme", "container": "c1", "name": "", "address": "172.18.0.2",
        "connections": 1, "rate": 1,
        "requests": 1, "denied": 0, "throttled": 0, "bytes_out": 10, "bytes_in": 20, "signals": 0,
    }  # fmt: skip


def test_how_full_each_limit_is_of_container_tenant_and_destination() -> None:
    shared = worker(policy=limited("destination", bytes_out=40))
    caller = shared.charged(ENDPOINT)
    shared.budget.connect(caller)
    shared.budget.request(caller)
    shared.budget.dial(caller, "site.net:443")
    shared.budget.flow(caller, "site.net:443").sent(10)
    shared.budget.frames(caller, 3)
    rows = usage(shared)["limits"]
    seen = {(row["scope"], row["name"], row["measure"]): (row["used"], row["limit"]) for row in rows}
    assert {row["tenant"] for row in rows} == {"acme"}
    assert seen["destination", "site.net:443", "bytes_out"] == (10, 40)
    assert seen["destination", "site.net:443", "connections"][0] == 1
    assert seen["destination", "site.net:443", "new_connections_per_second"][0] == 1
    assert seen["tenant", "", "new_connections_per_second"] == (1, 400)
    assert seen["tenant", "", "bytes_in"] == (0, 200 * 2**30), "of a tenant all are told"
    assert seen["container", "e1", "requests_per_second"] == (1, 200)
    assert seen["container", "e1", "frames_per_second"] == (3, 5000)
    assert ("container", "e1", "bytes_in") not in seen
    shared.endpoint_removed(ENDPOINT)
    assert {row["scope"] for row in usage(shared)["limits"]} == {"tenant", "destination"}


def test_a_container_that_left_is_its_tenants_past() -> None:
    shared = worker()
    shared.budget.request(shared.charged(ENDPOINT))
    shared.endpoint_removed(ENDPOINT)
    found = usage(shared)
    assert found["endpoints"] == []
    assert [(row["tenant"], row["requests"]) for row in found["departed"]] == [("acme", 1)]
