"""`POST /execute` from the workload's TLS to the provider and back."""

from __future__ import annotations

import hashlib
import re
import secrets
import time

import pytest

from appliance.broker.api.routes import ROUTES
from appliance.broker.dpop.nonce_key import shared_nonce_key
from appliance.broker.dpop.nonces import Nonces
from appliance.policy.bound import Bound
from tests.unit.broker.api.support import BEARER, Answer, Broker, Client
from tests.unit.broker.calls.support import SECRET
from tests.unit.broker.proofs import ABSENT, EC_KEY, b64, proof
from tests.unit.gateway.support import ENDPOINT

GOOD = {
    "account": "crm", "url": "https://api.example.com/data/1?page=2", "method": "GET", "headers": {},
    "body": None,
}  # fmt: skip
POSTED = GOOD | {
    "url": "https://api.example.com/data/1", "method": "POST",
    "headers": {"Content-Type": "application/json"}, "body": '{"title":"x"}',
}  # fmt: skip


def executed(client: Client, token: str, **changes: object) -> Answer:
    body = {name: value for name, value in (GOOD | changes).items() if value is not ABSENT}
    return client.ask("POST /execute", BEARER + token, body=body)


def test_000_39_000_40_a_call_is_carried_and_its_answer_is_the_answer(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    assert executed(client, token).octets == b""
    assert b"GET /data/1?page=2 HTTP/1.1\r\nHost: api.example.com\r\n" in broker.neighbours.sent
    assert f"authorization: Bearer {SECRET}".encode() in broker.neighbours.sent
    broker.neighbours.answer()
    answer = Answer(client.hear())
    assert (answer.status, answer.body) == (200, b"ok")
    record = broker.neighbours.record
    assert (record.request_id, record.endpoint, record.account) == ("t-1.2", ENDPOINT.id, "crm")
    assert record.checks == ("intent", "binding", "policy", "network", "container")
    assert client.session()


def test_a_body_goes_along_and_several_calls_share_a_connection(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    for _ in range(2):
        executed(client, token, **POSTED)
        broker.neighbours.answer()
        assert Answer(client.hear()).status == 200
    assert broker.neighbours.sent.count(b'\r\n\r\n{"title":"x"}') == 2


def test_000_62_the_token_never_goes_on(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    executed(client, token, **POSTED)
    broker.neighbours.answer()
    client.hear()
    assert token.encode() not in broker.neighbours.sent
    for change in (
        {"headers": {"X-Note": token}}, {"url": f"https://api.example.com/data/{token}"},
        {"headers": {"Authorization": f"Bearer {token}"}}, POSTED | {"body": token},
    ):  # fmt: skip
        assert executed(client, token, **change).reason == "token-in-request"
    assert token.encode() not in broker.neighbours.sent
    assert broker.neighbours.killed == []


@pytest.mark.parametrize(
    "change",
    [
        {"account": ABSENT}, {"url": ABSENT}, {"method": ABSENT}, {"headers": ABSENT}, {"body": ABSENT},
        {"connector": "crm-api"}, {"extra": 1}, {"host": "evil.net"}, {"url": 1}, {"method": None},
        {"headers": []}, {"headers": {"A": 1}}, {"headers": {"A": ["x"]}}, {"body": {"a": 1}}, {"body": 1},
        {"account": None}, {"account": 7}, {"account": ""},
    ],
)  # fmt: skip
def test_000_40_members_that_are_missing_too_many_or_wrong_are_refused(broker: Broker, change: dict) -> None:
    client = broker.workload()
    refused = executed(client, client.session(), **change)
    assert (refused.status, refused.reason) == (400, "body-invalid")
    assert broker.neighbours.log == []


def test_000_26_it_is_no_proxy(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    for change, reason in (
        ({"url": "//api.example.com/data/1"}, "url-invalid"), ({"url": "/data/1"}, "url-invalid"),
        ({"url": "http://api.example.com/data/1"}, "url-invalid"), ({"method": "CONNECT"}, "method-not-made"),
        ({"headers": {"Host": "evil.net"}}, "field-not-allowed"),
        ({"headers": {"X-Forwarded-Host": "evil.net"}}, "field-not-allowed"),
        ({"url": "https://evil.net/data/1"}, None), ({"url": "https://api.example.com/other"}, None),
    ):  # fmt: skip
        refused = executed(client, token, **change)
        assert refused.status in {400, 403}, refused.text
        assert reason in {None, refused.reason}
    assert client.ask("POST /execute", BEARER + token, "X-Forwarded-Host: evil.net", body=GOOD).status == 400
    assert broker.neighbours.sent == b""
    assert not [entry for entry in broker.neighbours.log if entry.startswith(("decrypt", "connect"))]


def test_000_09_000_34_only_a_live_session_of_ones_own_serves(broker: Broker) -> None:
    client, thief = broker.workload(), broker.workload("e2", "c2")
    token = client.session()
    assert executed(thief, token).reason == "certificate_mismatch"
    assert executed(client, client.session(account="crm")).reason == "account_mismatch"
    assert client.ask("POST /execute", body=GOOD).status == 401
    client.ask("DELETE /v1/session", BEARER + token)
    refused = executed(client, token)
    assert (refused.status, refused.reason) == (401, "session_revoked")
    assert b'error="invalid_token"' in refused.head
    assert broker.neighbours.log == []


def test_000_11_a_bound_session_serves_with_a_proof_of_this_request_and_once(broker: Broker) -> None:
    client = broker.workload()

    def proved(path: str, **claims: object) -> str:
        nonce = broker.nonce("spiffe://lab/tenant/acme/workload/c1")
        uri = f"https://broker.egress.internal{path}"
        return "DPoP: " + proof(EC_KEY, htu=uri, iat=int(time.time()), nonce=nonce, **claims)

    opened = client.ask("POST /v1/session", proved("/v1/session", ath=ABSENT), body={"ttl": 60, "dpop": True})
    token = opened.json["token"]
    assert opened.json["dpop_jkt"]
    bound = f"Authorization: DPoP {token}"
    without = client.ask("POST /execute", bound, body=GOOD)
    assert (without.status, without.reason) == (401, "proof_missing")
    ath = b64(hashlib.sha256(token.encode()).digest())
    other = client.ask("POST /execute", bound, proved("/v1/handles", ath=ath, jti="a" * 16), body=GOOD)
    assert other.status == 401
    good = proved("/execute", ath=ath, jti="b" * 16)
    assert client.ask("POST /execute", bound, good, body=GOOD).octets == b""
    broker.neighbours.answer()
    assert Answer(client.hear()).status == 200
    again = client.ask("POST /execute", bound, good, body=GOOD)
    assert (again.status, again.reason) == (401, "proof_replayed")


class BoundWorkload:
    """A workload with a session that is bound to a key."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.client = broker, broker.workload()
        moment = int(time.time())
        self.current, self.before = Nonces(shared_nonce_key(broker.database)).accepted(
            "acme", "spiffe://lab/tenant/acme/workload/c1", moment
        )
        opening = self.proved("/v1/session", self.current, ath=ABSENT)
        opened = self.client.ask("POST /v1/session", opening, body={"ttl": 60, "dpop": True})
        self.token = opened.json["token"]

    def proved(self, path: str, nonce: str, **claims: object) -> str:
        uri = f"https://broker.egress.internal{path}"
        return "DPoP: " + proof(EC_KEY, htu=uri, iat=int(time.time()), nonce=nonce, **claims)

    def executes(self, nonce: str, body: object = GOOD) -> Answer:
        ath = b64(hashlib.sha256(self.token.encode()).digest())
        proved = self.proved("/execute", nonce, ath=ath, jti=secrets.token_hex(8))
        return self.client.ask("POST /execute", f"Authorization: DPoP {self.token}", proved, body=body)


def nonces(answer: Answer) -> list[bytes]:
    return re.findall(rb"\r\ndpop-nonce: ?([^\r]*)", answer.head + b"\r", re.IGNORECASE)


def test_000_11_an_answer_of_a_provider_brings_the_nonce_that_the_next_proof_needs(broker: Broker) -> None:
    bound = BoundWorkload(broker)
    assert bound.executes(bound.before).octets == b""
    broker.neighbours.answer(
        b"HTTP/1.1 200 OK\r\nDPoP-Nonce: of-the-provider\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
    )
    answer = Answer(bound.client.hear())
    assert (answer.status, answer.body) == (200, b"ok")
    assert nonces(answer) == [bound.current.encode()]
    assert b"\r\nCache-Control: no-store" in answer.head


def test_000_11_a_long_answer_has_it_once_in_its_head(broker: Broker) -> None:
    bound = BoundWorkload(broker)
    bound.executes(bound.before)
    broker.neighbours.answer(
        b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\nContent-Type: text/plain\r\n\r\n" + b"x" * 60000
    )
    broker.neighbours.answer(b"\r\n\r\n" + b"x" * 29996)
    answer = Answer(bound.client.hear())
    assert nonces(answer) == [bound.current.encode()]
    assert answer.octets.lower().count(b"dpop-nonce") == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [({**GOOD, "account": "nobody"}, "account-not-bound"), ({**GOOD, "method": "DELETE"}, None), ({}, "body-invalid")],
)  # fmt: skip
def test_000_11_a_refusal_brings_it_as_well(broker: Broker, body: dict, reason: str | None) -> None:
    bound = BoundWorkload(broker)
    refused = bound.executes(bound.before, body)
    assert refused.status in {400, 403, 405}
    assert reason in {None, refused.reason}
    assert nonces(refused) == [bound.current.encode()]


def test_000_11_who_has_the_newest_nonce_is_told_none(broker: Broker) -> None:
    bound = BoundWorkload(broker)
    bound.executes(bound.current)
    broker.neighbours.answer()
    assert nonces(Answer(bound.client.hear())) == []
    assert nonces(bound.executes(bound.current, {})) == []


def test_004_16_authority_of_ones_own_ends_the_execution(broker: Broker) -> None:
    client = broker.workload()
    refused = executed(client, client.session(), headers={"Authorization": "Bearer sk-mine"})
    assert (refused.status, refused.reason) == (403, "authority-collision")
    assert broker.neighbours.killed[0][:2] == (ENDPOINT.id, "authority-collision")
    assert broker.neighbours.sent == b""


def test_who_goes_has_abandoned_the_call(broker: Broker) -> None:
    client = broker.workload()
    executed(client, client.session(), **POSTED)
    client.broker.interface.departed(ENDPOINT)
    assert client.wire.aborted
    client.connection.connectionLost()
    assert broker.neighbours.record.reason == "client-closed"
    assert broker.neighbours.held[0].closed


def test_an_answer_that_is_cut_is_seen_to_be_cut(broker: Broker) -> None:
    client = broker.workload()
    executed(client, client.session())
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n" + b"ok " * 9000
    broker.neighbours.answer(long)
    assert Answer(client.hear()).status == 200
    broker.neighbours.upstreams[-1].connectionLost()
    client.hear()
    assert client.wire.aborted


def test_000_29_000_35_no_answer_of_any_route_holds_the_secret(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    bodies = {"/v1/session": {"ttl": 9}, "/v1/handles": {"account": "crm"}, "/execute": GOOD}
    said = b""
    for route in sorted(ROUTES, key=lambda route: route.method, reverse=True):
        body = bodies[route.path] if route.max_body else None
        said += client.ask(f"{route.method} {route.path}", BEARER + token, body=body).octets
        if route.path == "/execute":
            echo = b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\nContent-Length: %d\r\n\r\n%b" % (
                SECRET.encode(), len(SECRET), SECRET.encode(),
            )  # fmt: skip
            broker.neighbours.answer(echo)
            said += client.hear()
    assert said.count(b"HTTP/1.1 2") >= 4
    assert SECRET.encode() not in said


def test_000_39_no_other_route_makes_a_call(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    for route in ROUTES:
        if route.path != "/execute":
            client.ask(f"{route.method} {route.path}", BEARER + token, body=GOOD)
    assert not broker.neighbours.upstreams


def test_an_account_that_is_not_bound_is_refused(broker: Broker) -> None:
    client = broker.workload()
    token = client.session()
    broker.neighbours.policy = broker.policies["acme"].__class__("acme", "two", bound=Bound.of([], []))
    assert executed(client, token).reason == "account-not-bound"
    assert executed(client, token, account="other").reason == "account-not-bound"
