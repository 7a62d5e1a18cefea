"""appliance.broker.identity.jwt_callers: the signature first, then every claim; each fault by its own code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.broker.identity.actors import Caller, CallerFault, CallerMode, CallerRefusal
from appliance.broker.identity.jwks import KeysUnavailable
from appliance.broker.identity.jwt_callers import (
    LEEWAY,
    MAX_TOKEN,
    JwtCallers,
    JwtIssuer,
    KeySource,
    StaticKey,
)
from appliance.broker.identity.jwt_keys import (
    ASYMMETRIC,
    VerificationKey,
    parse_key_set,
    public_key,
    shared_secret,
)

from .answers import outcome
from .jwts import CLAIMS, EC, ED, RSA, SECRET, TIME, by_hand, encoded, published, signed, token, without

ISSUER = JwtIssuer("https://issuer.example", "egress", "acme")
HMAC_ISSUER = JwtIssuer("https://issuer.example", "egress", "acme", frozenset({"HS256"}))


class Published:
    def __init__(self) -> None:
        document = json.dumps({"keys": [published(RSA), published(EC), published(ED)]}).encode()
        self.keys = parse_key_set(document)
        self.available = True

    async def key(self, identity: str | None) -> VerificationKey | None:
        if not self.available:
            raise KeysUnavailable
        return self.keys.get(identity or "")


SOURCE = Published()
STATIC = StaticKey(public_key(EC.as_pem(private=False)))


def who(text: str, keys: KeySource = SOURCE, issuer: JwtIssuer = ISSUER, now: float = TIME) -> Any:
    answer = outcome(JwtCallers(issuer, keys, lambda: now).authenticate(text))
    return answer.fault if isinstance(answer, CallerRefusal) else answer


ALICE = Caller(CallerMode.JWT, "alice", "acme", frozenset({"calls:write", "audit:read"}))


@pytest.mark.parametrize(
    ("key", "algorithm"), [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (ED, "Ed25519")]
)
def test_002_08_a_good_token_names_its_subject_and_scopes(key: Any, algorithm: str) -> None:
    assert who(token(key, algorithm)) == ALICE


def test_002_08_a_static_key_needs_no_id_and_keeps_to_the_one_it_was_given() -> None:
    assert who(token(header={"kid": "whatever"}), STATIC) == ALICE
    named = StaticKey(STATIC.verifies, "ec")
    assert who(token(), named) == ALICE
    assert who(token(header={"kid": "other"}), named) is CallerFault.JWT_KEY_UNKNOWN


def test_002_08_a_shared_secret_verifies_hmac_and_nothing_else() -> None:
    shared = StaticKey(shared_secret(SECRET.raw_value))
    assert who(token(SECRET, "HS256"), shared, HMAC_ISSUER) == ALICE
    assert who(token(SECRET, "HS384"), shared, HMAC_ISSUER) is CallerFault.JWT_ALGORITHM
    both = JwtIssuer("https://issuer.example", "egress", "acme", frozenset({"HS256", *ASYMMETRIC}))
    assert who(token(EC, "ES256"), shared, both) is CallerFault.JWT_ALGORITHM


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
def test_002_08_alg_none_is_no_algorithm(name: str) -> None:
    unsigned = by_hand({"alg": name, "kid": "ec"}, CLAIMS, None)
    assert who(unsigned) is CallerFault.JWT_MALFORMED  # a signature of no octets
    assert who(unsigned + "AA") is CallerFault.JWT_ALGORITHM
    assert who(by_hand({"alg": name}, CLAIMS, b"x"), STATIC) is CallerFault.JWT_ALGORITHM


def test_002_08_alg_none_cannot_be_configured() -> None:
    with pytest.raises(ValueError):
        JwtIssuer("https://issuer.example", "egress", "acme", frozenset({"none", "ES256"}))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_002_08_a_public_key_is_no_secret_for_hmac(algorithm: str) -> None:
    """HS/RS confusion: the attacker signs by HMAC with what everybody may read."""
    both = JwtIssuer(
        "https://issuer.example", "egress", "acme", frozenset({"HS256", "HS384", "HS512", *ASYMMETRIC})
    )
    for key in (RSA, EC):
        for text in (key.as_pem(private=False), key.as_pem(private=False).strip(), key.as_der(private=False),
                     json.dumps(key.as_dict(private=False)).encode()):  # fmt: skip
            forged = by_hand({"alg": algorithm, "kid": key.kid}, CLAIMS, text)
            static = StaticKey(public_key(key.as_pem(private=False)))
            for issuer in (ISSUER, both):
                assert who(forged, SOURCE, issuer) is CallerFault.JWT_ALGORITHM
                assert who(forged, static, issuer) is CallerFault.JWT_ALGORITHM


def test_002_08_an_algorithm_of_another_kind_of_key_is_refused() -> None:
    assert who(token(RSA, "RS256", {"kid": "ec"})) is CallerFault.JWT_ALGORITHM
    narrow = JwtIssuer("https://issuer.example", "egress", "acme", frozenset({"ES256"}))
    assert who(token(RSA, "RS256"), SOURCE, narrow) is CallerFault.JWT_ALGORITHM


def test_002_08_an_unknown_key_id_is_refused() -> None:
    assert who(token(header={"kid": "unknown"})) is CallerFault.JWT_KEY_UNKNOWN
    keyless = signed(json.dumps(CLAIMS).encode(), type(EC).import_key(EC.raw_value), "ES256")
    assert who(keyless) is CallerFault.JWT_KEY_UNKNOWN


def test_002_08_keys_that_cannot_be_had_let_nobody_in() -> None:
    away = Published()
    away.available = False
    assert who(token(), away) is CallerFault.JWT_KEYS_UNAVAILABLE


@pytest.mark.parametrize("at", [0, 10, -1])
def test_002_08_a_signature_of_others_is_refused(at: int) -> None:
    head, payload, signature = token().split(".")
    wrong = list(signature)
    wrong[at] = "A" if wrong[at] not in "AB" else "Q"
    assert who(f"{head}.{payload}.{''.join(wrong)}") is CallerFault.JWT_SIGNATURE
    other = encoded(json.dumps({**CLAIMS, "sub": "root"}).encode())
    assert who(f"{head}.{other}.{signature}") is CallerFault.JWT_SIGNATURE
    stranger = type(EC).generate_key("P-256", {"kid": "ec"})
    assert who(token(stranger)) is CallerFault.JWT_SIGNATURE


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        ({"exp": TIME - LEEWAY}, CallerFault.JWT_EXPIRED),
        ({"exp": TIME - LEEWAY + 1}, None),
        ({"exp": 0}, CallerFault.JWT_EXPIRED),
        ({"exp": -1}, CallerFault.JWT_EXPIRED),
        ({"exp": TIME + 0.5}, None),
        ({"exp": str(TIME + 300)}, CallerFault.JWT_CLAIMS),
        ({"exp": True}, CallerFault.JWT_CLAIMS),
        ({"exp": None}, CallerFault.JWT_CLAIMS),
        ({"exp": 2**53}, CallerFault.JWT_CLAIMS),
        ({"exp": 10**400}, CallerFault.JWT_CLAIMS),
        ({"exp": float("nan")}, CallerFault.JWT_CLAIMS),
        ({"exp": float("inf")}, CallerFault.JWT_CLAIMS),
        ({"exp": [TIME + 300]}, CallerFault.JWT_CLAIMS),
        ({"nbf": TIME + LEEWAY}, None),
        ({"nbf": TIME + LEEWAY + 1}, CallerFault.JWT_NOT_YET_VALID),
        ({"nbf": "0"}, CallerFault.JWT_CLAIMS),
        ({"iat": TIME + LEEWAY + 1}, CallerFault.JWT_NOT_YET_VALID),
        ({"iss": "https://issuer.example/"}, CallerFault.JWT_ISSUER),
        ({"iss": "https://evil.example"}, CallerFault.JWT_ISSUER),
        ({"iss": ["https://issuer.example"]}, CallerFault.JWT_ISSUER),
        ({"aud": ["other", "egress"]}, None),
        ({"aud": "other"}, CallerFault.JWT_AUDIENCE),
        ({"aud": ["other"]}, CallerFault.JWT_AUDIENCE),
        ({"aud": []}, CallerFault.JWT_AUDIENCE),
        ({"aud": "egress-other"}, CallerFault.JWT_AUDIENCE),
        ({"aud": {"egress": 1}}, CallerFault.JWT_AUDIENCE),
        ({"sub": ""}, CallerFault.JWT_CLAIMS),
        ({"sub": 7}, CallerFault.JWT_CLAIMS),
        ({"sub": "a b"}, CallerFault.JWT_CLAIMS),
        ({"sub": "x" * 256}, CallerFault.JWT_CLAIMS),
        ({"scope": 7}, CallerFault.JWT_CLAIMS),
        ({"scope": "a  b"}, CallerFault.JWT_CLAIMS),
        ({"scope": ["a b"]}, CallerFault.JWT_CLAIMS),
        ({"scope": [1]}, CallerFault.JWT_CLAIMS),
    ],
)
def test_002_08_every_claim_counts(claims: dict[str, Any], fault: CallerFault | None) -> None:
    answer = who(token(**claims))
    assert answer == (ALICE if fault is None else fault)


@pytest.mark.parametrize(
    ("name", "fault"),
    [("exp", CallerFault.JWT_CLAIMS), ("iss", CallerFault.JWT_ISSUER), ("aud", CallerFault.JWT_AUDIENCE), ("sub", CallerFault.JWT_CLAIMS)],
)  # fmt: skip
def test_002_08_a_claim_that_is_missing_is_no_claim_that_is_right(name: str, fault: CallerFault) -> None:
    assert who(without(name)) is fault


def test_002_08_a_token_without_scopes_has_none() -> None:
    answer = who(without("scope"))
    assert isinstance(answer, Caller)
    assert answer.scopes == frozenset()
    listed = {key: value for key, value in CLAIMS.items() if key != "scope"}
    answer = who(signed(json.dumps({**listed, "scp": ["a", "b"]}).encode(), EC, "ES256"))
    assert isinstance(answer, Caller)
    assert answer.scopes == {"a", "b"}


def test_002_08_002_11_the_tenant_is_the_configurations_whatever_the_token_says() -> None:
    answer = who(token(tenant="beta", actor="root", scopes=["admin"]))
    assert answer == ALICE


@pytest.mark.parametrize(
    "header",
    [{"jku": "https://evil.example/keys"}, {"x5u": "https://evil.example/c"}, {"x5c": ["AAAA"]}, {"jwk": {}},
     {"crit": ["exp"]}, {"b64": False}, {"zip": "DEF"}, {"typ": "dpop+jwt"}, {"typ": 7}, {"kid": 7}, {"alg": 7},
     {"alg": None}],
)  # fmt: skip
def test_002_08_a_header_that_brings_its_own_rules_is_refused(header: dict[str, Any]) -> None:
    claims = encoded(json.dumps(CLAIMS).encode())
    head = encoded(json.dumps({"alg": "ES256", "kid": "ec", **header}).encode())
    assert who(f"{head}.{claims}.AAAA") is CallerFault.JWT_MALFORMED


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_002_08_usual_types_are_good(kind: str) -> None:
    assert who(token(header={"typ": kind})) == ALICE


def test_002_08_what_is_no_compact_token_is_malformed() -> None:
    good = token()
    head, payload, signature = good.split(".")
    twice = encoded(b'{"alg":"ES256","kid":"ec","alg":"none"}')
    for text in ("", ".", "..", good + ".", good + ".AAAA.AAAA", f"{head}.{payload}", f"{head}..{signature}",
                 " " + good, good + "\n", good + "=", f"{head}=.{payload}.{signature}", f"{twice}.{payload}.{signature}",
                 f"A.{payload}.{signature}", f"{encoded(b'[]')}.{payload}.{signature}",
                 f"{encoded(b'[' * 3000)}.{payload}.{signature}", json.dumps({"payload": payload})):  # fmt: skip
        assert who(text) is CallerFault.JWT_MALFORMED, text


def test_002_08_a_token_has_a_size() -> None:
    head, _, signature = token().split(".")
    room = MAX_TOKEN - len(head) - len(signature) - 2
    assert who(f"{head}.{'A' * room}.{signature}") is CallerFault.JWT_SIGNATURE
    assert who(f"{head}.{'A' * (room + 1)}.{signature}") is CallerFault.JWT_MALFORMED


@pytest.mark.parametrize("payload", [b"[]", b"7", b"", b'{"iss":"a","iss":"b"}', b"\xff"])
def test_002_08_signed_nonsense_is_nonsense(payload: bytes) -> None:
    text = signed(payload, EC, "ES256")
    assert who(text) in (CallerFault.JWT_CLAIMS, CallerFault.JWT_MALFORMED)


@pytest.mark.parametrize(
    ("issuer", "audience", "tenant", "algorithms"),
    [("", "egress", "acme", ASYMMETRIC), ("i", "", "acme", ASYMMETRIC), ("i", "a", "", ASYMMETRIC), ("i", "a", "acme", frozenset())],
)  # fmt: skip
def test_002_08_a_configuration_that_accepts_too_much_is_refused(
    issuer: str, audience: str, tenant: str, algorithms: frozenset[str]
) -> None:
    with pytest.raises(ValueError):
        JwtIssuer(issuer, audience, tenant, algorithms)
