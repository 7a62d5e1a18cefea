"""appliance.broker.identity.callers: one proof, and neither body nor other fields have a say."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from sqlalchemy import Engine

from appliance.broker.identity.actors import Caller, CallerFault, CallerMode, CallerRefusal
from appliance.broker.identity.address_check import AddressAllowlist
from appliance.broker.identity.api_keys import ApiKeys
from appliance.broker.identity.callers import Authenticated, Callers
from appliance.broker.identity.jwks import Jwks
from appliance.broker.identity.jwt_callers import JwtCallers, JwtIssuer, StaticKey
from appliance.broker.identity.jwt_keys import public_key
from appliance.broker.identity.trusted_headers import Headers, Peer, TrustedHeaders

from .answers import outcome
from .jwts import EC, TIME, token
from .peers import CERTIFICATE_FIELDS, NOW, URI, Forge
from .test_jwks import Issuer

ANYBODY, PROXY = ip_address("192.0.2.8"), ip_address("192.0.2.7")
ISSUER = JwtIssuer("https://issuer.example", "egress", "acme")
STATIC = JwtCallers(ISSUER, StaticKey(public_key(EC.as_pem(private=False))), lambda: TIME)
TRUSTED = TrustedHeaders("acme", AddressAllowlist.parse(["192.0.2.7"]))


async def at_once(question: Callable[[], Caller | CallerRefusal]) -> Caller | CallerRefusal:
    return question()


@pytest.fixture
def keys(database: Engine) -> ApiKeys:
    return ApiKeys(database)


@pytest.fixture
def callers(keys: ApiKeys) -> Callers:
    return Callers(at_once, lambda: NOW, api_keys=keys, jwt=STATIC, trusted=TRUSTED)


def bearer(text: str) -> tuple[bytes, bytes]:
    return (b"Authorization", b"Bearer " + text.encode())


def ask(callers: Callers, headers: Headers, peer: Peer = ANYBODY) -> Any:
    answer = outcome(callers.authenticate(headers, peer))
    return answer.fault if isinstance(answer, CallerRefusal) else answer


def test_002_07_without_credentials_nobody_is_let_in(callers: Callers) -> None:
    assert ask(callers, ()) is CallerFault.UNAUTHENTICATED
    assert ask(callers, ((b"Host", b"x"),), PROXY) is CallerFault.UNAUTHENTICATED
    assert ask(Callers(at_once, lambda: NOW), ()) is CallerFault.UNAUTHENTICATED


def test_002_08_the_four_ways_name_the_caller(callers: Callers, keys: ApiKeys) -> None:
    made = keys.create("acme", "ci", frozenset({"calls:write"}), NOW)
    by_key = ask(callers, (bearer(made.text),)).caller
    assert by_key == Caller(CallerMode.API_KEY, "ci", "acme", frozenset({"calls:write"}))
    by_static_key = ask(callers, (bearer(token()),)).caller
    issuer = Issuer()
    fetched = JwtCallers(
        ISSUER, Jwks("https://issuer.example/keys", issuer.fetch, issuer.clock), lambda: TIME
    )
    by_published_key = ask(Callers(at_once, lambda: NOW, jwt=fetched), (bearer(token()),)).caller
    assert by_static_key == by_published_key
    assert (by_static_key.mode, by_static_key.actor) == (CallerMode.JWT, "alice")
    by_proxy = ask(callers, ((b"X-Egress-Actor", b"bob"),), PROXY).caller
    assert (by_proxy.mode, by_proxy.actor) == (CallerMode.TRUSTED_HEADER, "bob")


def test_002_08_a_way_that_is_not_configured_lets_nobody_in(keys: ApiKeys) -> None:
    made = keys.create("acme", "ci", frozenset(), NOW)
    nothing = Callers(at_once, lambda: NOW)
    assert ask(nothing, (bearer(made.text),)) is CallerFault.KEY_INVALID
    assert ask(nothing, (bearer(token()),)) is CallerFault.JWT_MALFORMED
    assert ask(nothing, ((b"X-Egress-Actor", b"bob"),), PROXY) is CallerFault.UNAUTHENTICATED


def test_002_07_more_than_one_proof_is_refused(callers: Callers, keys: ApiKeys) -> None:
    made = keys.create("acme", "ci", frozenset(), NOW)
    assert ask(callers, (bearer(made.text), bearer(made.text))) is CallerFault.AMBIGUOUS
    assert ask(callers, (bearer(made.text), (b"authorization", b"Basic eA=="))) is CallerFault.AMBIGUOUS
    assert ask(callers, (bearer(made.text), (b"X-Egress-Actor", b"bob")), PROXY) is CallerFault.AMBIGUOUS


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"DPoP x", b"bearer  x", b"Bearer x y", b"Bearer\tx", b"Bearer \xff"]
)  # fmt: skip
def test_002_07_another_scheme_is_refused(callers: Callers, value: bytes) -> None:
    assert ask(callers, ((b"Authorization", value),)) is CallerFault.SCHEME


def test_002_07_the_scheme_is_read_in_any_case(callers: Callers) -> None:
    assert isinstance(ask(callers, ((b"AUTHORIZATION", b"bEaReR " + token().encode()),)), Authenticated)


def test_002_22_a_revoked_key_loses_access_at_once(callers: Callers, keys: ApiKeys) -> None:
    made = keys.create("acme", "ci", frozenset(), NOW)
    assert isinstance(ask(callers, (bearer(made.text),)), Authenticated)
    keys.revoke(made.id, NOW)
    assert ask(callers, (bearer(made.text),)) is CallerFault.KEY_REVOKED


def test_002_23_inbound_copies_are_stripped_whoever_sends_them(callers: Callers) -> None:
    copies: Headers = ((b"X-Egress-Actor", b"root"), (b"x_egress_scopes", b"admin"))
    answer = ask(callers, ((b"Host", b"x"), *copies, bearer(token())))
    assert (answer.caller.actor, answer.headers) == ("alice", ((b"Host", b"x"),))
    answer = ask(callers, ((b"Host", b"x"), (b"X-Egress-Actor", b"bob"), copies[1]), PROXY)
    assert (answer.caller.actor, answer.caller.scopes, answer.headers) == (
        "bob",
        frozenset(),
        ((b"Host", b"x"),),
    )
    # Also where the mode is off: what is behind us may know these names.
    off = Callers(at_once, lambda: NOW, jwt=STATIC)
    assert ask(off, (*copies, bearer(token()))).headers == ()


def test_the_proof_does_not_go_on_with_the_request(callers: Callers) -> None:
    answer = ask(callers, ((b"Host", b"x"), bearer(token()), (b"Accept", b"*/*")))
    assert answer.headers == ((b"Host", b"x"), (b"Accept", b"*/*"))


@pytest.mark.parametrize("peer", [ANYBODY, PROXY], ids=["anybody", "trusted-proxy"])
@pytest.mark.parametrize("name", CERTIFICATE_FIELDS)
def test_a_certificate_in_a_field_names_nobody(callers: Callers, name: bytes, peer: Peer) -> None:
    """Not of the peer whose other fields are believed either: nothing of ours stands behind a terminator."""
    pem = quote(Forge().leaf(URI).public_bytes(Encoding.PEM)).encode("ascii")
    assert ask(callers, ((name, pem),), peer) is CallerFault.UNAUTHENTICATED
    # Beside credentials it changes nothing.
    assert ask(callers, ((name, pem), bearer(token())), peer).caller.mode is CallerMode.JWT


@pytest.mark.parametrize(
    "claim",
    [{"actor": "root"}, {"scopes": ["admin"]}, {"actor": "root", "scopes": "admin", "tenant": "beta"}, {"sub": "root"}],
)  # fmt: skip
def test_002_11_what_the_body_says_of_actor_and_scopes_is_ignored(
    callers: Callers, keys: ApiKeys, claim: dict[str, Any]
) -> None:
    made = keys.create("acme", "ci", frozenset({"calls:write"}), NOW)
    body = json.dumps(claim).encode()
    fields: Headers = ((b"Content-Type", b"application/json"), (b"Content-Length", str(len(body)).encode()))
    wished: Headers = tuple(
        (f"X-{name}".encode(), json.dumps(value).encode()) for name, value in claim.items()
    )
    answer = ask(callers, (*fields, *wished, (b"Actor", b"root"), (b"Scopes", b"admin"), bearer(made.text)))
    assert answer.caller == Caller(CallerMode.API_KEY, "ci", "acme", frozenset({"calls:write"}))
    # The body is not given to what decides; a parameter for it would be the beginning of the mistake.
    assert list(inspect.signature(Callers.authenticate).parameters) == ["self", "headers", "peer"]
    assert ask(callers, (*fields, *wished)) is CallerFault.UNAUTHENTICATED
