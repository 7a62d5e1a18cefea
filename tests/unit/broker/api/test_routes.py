"""The routes, swept: each is refused to everybody who is nobody, and none tells a secret."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL

from appliance.broker.api.routes import FOR_CALLERS, ROUTES, Route, route_of
from appliance.http1.head import parse_request_head
from appliance.tls.authority import new_key
from tests.unit.broker.api.support import Answer, Broker, Client
from tests.unit.broker.identity.peers import Forge
from tests.unit.gateway.support import ENDPOINT, OTHER_PUBLIC

URI = "spiffe://lab/tenant/acme/workload/c1"
SECOND = "spiffe://lab/tenant/acme/workload/c2"


def nobodies(broker: Broker) -> dict[str, Client]:
    forge, stranger = Forge(broker.root), Forge()
    chains = {
        "no certificate": [],
        "wrong CA": stranger.chain(),
        "expired": forge.chain(end=timedelta(minutes=-1)),
        "no clientAuth": forge.chain(usages=[ExtendedKeyUsageOID.SERVER_AUTH]),
        "no usage": forge.chain(usages=[]),
        "two URIs": forge.chain(URI, SECOND),
        "never recorded": forge.chain(),
    }
    return {
        name: Client(broker, (stranger if name == "wrong CA" else forge).leaf_key, chain)
        for name, chain in chains.items()
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_000_06_000_08_every_route_refuses_every_nobody(broker: Broker, route: Route) -> None:
    for name, client in nobodies(broker).items():
        body = {"ttl": 600} if route.max_body else None
        try:
            answer = client.ask(f"{route.method} {route.path}", body=body)
        except SSL.Error:
            continue
        if answer.octets:
            assert answer.status == 401, name
            assert answer.reason.startswith("workload_"), name
        else:
            assert client.wire.disconnecting or client.wire.aborted, name
    assert set(broker.events) == {"workload-refused"}
    assert all(record.outcome.value == "denied" for record in broker.audit.records)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_000_08_every_route_wants_the_certificate_of_its_own_link(broker: Broker, route: Route) -> None:
    stolen = broker.workload()
    stolen.link = broker.workload("e2", "c2").link
    body = {"ttl": 600} if route.max_body else None
    assert stolen.ask(f"{route.method} {route.path}", body=body).reason == "workload_link_mismatch"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_000_33_every_route_sees_at_once_that_a_workload_is_disabled(broker: Broker, route: Route) -> None:
    client = broker.workload()
    client.session()
    broker.identities.workloads.disable("acme", "c1", broker.interface.enrolments.now())
    body = {"ttl": 600} if route.max_body else None
    assert client.ask(f"{route.method} {route.path}", body=body).reason == "workload_disabled"


def test_000_33_a_container_that_left_is_nobody(broker: Broker) -> None:
    client = broker.workload()
    broker.feed.table.update([], [ENDPOINT.id])
    assert client.ask("DELETE /v1/session").reason == "endpoint-unknown"
    broker.interface.departed(ENDPOINT)
    assert client.ask("DELETE /v1/session").reason == "workload_departed"


def test_another_holder_of_the_address_is_not_the_workload(broker: Broker) -> None:
    client = broker.workload()
    client.link = replace(client.link, source=f"{OTHER_PUBLIC}:1")
    assert client.ask("DELETE /v1/session").reason == "endpoint-unknown"


def head(line: str, *fields: str, host: str = "broker.egress.internal"):
    return parse_request_head("\r\n".join([f"{line} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_000_26_no_route_is_asked_for_another_host(route: Route) -> None:
    line, json = f"{route.method} {route.path}", ["Content-Type: application/json"]
    assert route_of(head(line, *json)) == route
    refused = {
        route_of(head(line, *json, host="api.example.com")).reason,
        route_of(head(line, *json, host="broker.egress.internal:8443")).reason,
        route_of(head(f"{route.method} http://broker.egress.internal{route.path}", *json)).reason,
        route_of(head("CONNECT broker.egress.internal:80", host="broker.egress.internal:80")).reason,
        route_of(head(line, "X-Forwarded-Host: api.example.com")).reason,
        route_of(head(line, "X-Original-URL: /v1/x")).reason,
        route_of(head(line + "?a=1")).reason,
        route_of(head(f"PATCH {route.path}")).reason,
    }
    assert refused == {
        "not-the-broker",
        "target-form",
        "field-not-allowed",
        "not-found",
        "method-not-allowed",
    }


def test_a_body_is_where_one_belongs_and_no_larger() -> None:
    for route in ROUTES:
        size = f"Content-Length: {route.max_body + 1}"
        found = route_of(head(f"{route.method} {route.path}", size, "Content-Type: application/json"))
        assert found.status in {400, 413}
        assert found.closes
        if route.max_body:
            assert route_of(head(f"{route.method} {route.path}", "Content-Length: 2")).status == 415


def test_000_29_what_is_no_route_is_no_answer(broker: Broker) -> None:
    client = broker.workload()
    for path in ("/", "/v1", "/v1/secrets", "/v1/secret/crm-key", "/status", "/v1/session/", "/metrics"):
        for method in ("GET", "POST", "PUT"):
            answer: Answer = client.ask(f"{method} {path}")
            assert (answer.status, answer.reason) == (404, "not-found")


def test_a_key_of_somebody_elses_is_no_use(broker: Broker) -> None:
    client = broker.workload()
    client.key = new_key()
    with pytest.raises(SSL.Error):
        client.ask("DELETE /v1/session")


def test_000_39_a_caller_that_is_no_container_asks_for_a_call_and_for_nothing_else() -> None:
    for route in ROUTES:
        lines = f"{route.method} {route.path} HTTP/1.1\r\nHost: broker.egress.internal:80\r\n"
        head = parse_request_head(
            f"{lines}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n".encode()
        )
        found = route_of(head, FOR_CALLERS, "http")
        assert (found == route) == (route.path == "/execute")
        assert not isinstance(route_of(head, FOR_CALLERS), Route)
