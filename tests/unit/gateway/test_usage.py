from __future__ import annotations

from appliance.gateway.usage import usage

from .support import ENDPOINT, worker


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


def test_a_container_that_left_is_its_tenants_past() -> None:
    shared = worker()
    shared.budget.request(shared.charged(ENDPOINT))
    shared.endpoint_removed(ENDPOINT)
    found = usage(shared)
    assert found["endpoints"] == []
    assert [(row["tenant"], row["requests"]) for row in found["departed"]] == [("acme", 1)]
