"""appliance.broker.dpop.proof: RFC 9449 section 4.3, check by check.

One file for one list of checks: each is tried on the same good proof, changed in one thing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.broker.denied import Denied
from appliance.broker.dpop import proof as module
from appliance.broker.dpop.keys import ALGORITHMS
from appliance.broker.dpop.proof import (
    MAX_JTI,
    Expected,
    ForNewToken,
    ForToken,
    Judged,
    Window,
    access_token_hash,
    judge_proof,
)
from appliance.broker.dpop.target import TargetUri
from tests.unit.broker.proofs import (
    ABSENT,
    EC_KEY,
    ED_KEY,
    METHOD,
    NOW,
    OTHER_KEY,
    P384_KEY,
    RSA_KEY,
    TOKEN,
    URI,
    Private,
    b64,
    jkt,
    parts,
    private_member,
    proof,
    public_jwk,
    serialised,
    sign,
)
from tests.vectors import dpop as rfc

Changes = dict[str, Any]


def expected(key: Private = EC_KEY, **changes: Any) -> Expected:
    facts: Changes = {
        "method": METHOD,
        "target": TargetUri.parse(URI),
        "purpose": ForToken(TOKEN, jkt(key)),
        "now": NOW,
        "window": Window(past=60, future=5),
        "algorithms": ALGORITHMS,
        "nonces": (),
    }
    return Expected(**(facts | changes))


def denied(text: str, facts: Expected | None = None) -> Denied:
    with pytest.raises(Denied) as caught:
        judge_proof(text, facts or expected())
    return caught.value


def reason(text: str, facts: Expected | None = None) -> str:
    found = denied(text, facts)
    assert (found.status, found.error) == (401, "invalid_dpop_proof")
    return found.reason


def test_rfc9449_6_the_figures_of_the_rfc() -> None:
    window = Window()
    for_new = Expected(
        "POST",
        TargetUri.parse("https://server.example.com/token"),
        ForNewToken(),
        1562262616,
        window,
        ALGORITHMS,
        (),
    )
    assert judge_proof(rfc.FOR_NEW_TOKEN, for_new) == Judged(
        rfc.JKT, "-BwC3ESc6acc2lTc", nonce_is_current=True
    )
    target = TargetUri.parse("https://resource.example.org/protectedresource")
    for_token = Expected(
        "GET", target, ForToken(rfc.TOKEN, rfc.JKT), 1562262618, window, frozenset({"ES256"}), ()
    )
    assert judge_proof(rfc.FOR_TOKEN, for_token) == Judged(rfc.JKT, "e1j3V_bKic8-LAEB", nonce_is_current=True)


def test_000_13_the_hash_of_the_rfcs_token() -> None:
    assert access_token_hash(rfc.TOKEN) == rfc.ATH


@pytest.mark.parametrize("key", [EC_KEY, P384_KEY, ED_KEY, RSA_KEY])
def test_a_good_proof_of_each_algorithm_passes(key: Private) -> None:
    assert judge_proof(proof(key), expected(key)) == Judged(
        jkt(key), "0123456789abcdef", nonce_is_current=True
    )


def test_ed25519_by_its_own_name() -> None:
    assert judge_proof(proof(ED_KEY, header={"alg": "Ed25519"}), expected(ED_KEY))


@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat", "ath"])
@pytest.mark.parametrize("value", [ABSENT, None, True, 1.5, [], {}, ["x"], "", "x" * (MAX_JTI + 1)])
def test_rfc9449_3_every_claim_must_be_there_and_be_of_its_type(claim: str, value: Any) -> None:
    assert denied(proof(EC_KEY, **{claim: value})).status == 401


@pytest.mark.parametrize(
    "value",
    [
        ABSENT,
        None,
        "",
        "JWT",
        "jwt",
        "dpop+JWT",
        "DPoP+jwt",
        "application/dpop+jwt",
        "dpop+jwt ",
        ["dpop+jwt"],
    ],
)
def test_rfc9449_4_rfc9449_f_typ_is_exactly_dpop_jwt(value: Any) -> None:
    assert reason(proof(EC_KEY, header={"typ": value})) == "typ_mismatch"


@pytest.mark.parametrize("value", [ABSENT, None, "none", "None", "NONE", "", "HS256", "HS512", "RS256", "RS512",
                                   "ES512", "ES256K", "es256", ["ES256"], {"ES256": 1}, 1])  # fmt: skip
def test_rfc9449_5_rfc9449_f_alg_is_one_of_those_allowed_and_never_none_or_a_mac(value: Any) -> None:
    assert reason(proof(EC_KEY, header={"alg": value})) == "alg_not_allowed"


def test_rfc9449_f_no_algorithm_is_symmetric_or_none() -> None:
    assert {"none", "HS256", "HS384", "HS512"}.isdisjoint(ALGORITHMS)


def test_rfc9449_5_alg_is_bounded_by_policy() -> None:
    text = proof(ED_KEY)
    assert judge_proof(text, expected(ED_KEY))
    assert reason(text, expected(ED_KEY, algorithms=frozenset({"ES256"}))) == "alg_not_allowed"


def test_rfc9449_5_a_mac_with_the_public_key_as_its_secret_is_no_signature() -> None:
    import hmac

    header, claims = parts(RSA_KEY, {"alg": "HS256"})
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    mac = hmac.digest(json.dumps(public_jwk(RSA_KEY)).encode(), signed.encode(), "sha256")
    assert reason(f"{signed}.{b64(mac)}", expected(RSA_KEY)) == "alg_not_allowed"


def test_rfc9449_6_without_signature_nothing_passes() -> None:
    header, claims = parts(EC_KEY, {"alg": "none"})
    unsigned = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}."
    assert reason(unsigned) == "alg_not_allowed"
    head, body, _ = proof(EC_KEY).split(".")
    assert reason(f"{head}.{body}.") == "signature_invalid"
    assert reason(f"{head}.{body}.{b64(bytes(64))}") == "signature_invalid"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(EC_KEY, "ES384"), (P384_KEY, "ES256"), (EC_KEY, "EdDSA"), (ED_KEY, "ES256"), (RSA_KEY, "ES256"), (EC_KEY, "PS256"),
     (ED_KEY, "PS256"), (RSA_KEY, "Ed25519")],
)  # fmt: skip
def test_a_key_serves_its_own_algorithm_alone(key: Private, algorithm: str) -> None:
    assert reason(proof(key, header={"alg": algorithm}), expected(key)) == "alg_mismatch"


def test_pkcs1_v1_5_is_not_taken_under_another_name() -> None:
    assert reason(proof(RSA_KEY, signed_as="RS256"), expected(RSA_KEY)) == "signature_invalid"


@settings(deadline=None)
@given(st.data())
def test_rfc9449_6_no_changed_character_passes(data: st.DataObject) -> None:
    text = proof(EC_KEY)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."))
    if other != text[at]:
        assert denied(text[:at] + other + text[at + 1 :]).status == 401


@pytest.mark.parametrize("key", [EC_KEY, ED_KEY, RSA_KEY])
def test_rfc9449_6_a_signature_of_another_key_is_refused(key: Private) -> None:
    header, claims = parts(key)
    forged = serialised(json.dumps(header), json.dumps(claims), OTHER_KEY, "ES256")
    assert reason(forged, expected(key)) == "signature_invalid"


@pytest.mark.parametrize("key", [EC_KEY, ED_KEY, RSA_KEY])
def test_rfc9449_7_jwk_holds_no_private_key(key: Private) -> None:
    text = proof(key, header={"jwk": public_jwk(key) | private_member(key)})
    assert reason(text, expected(key)) == "jwk_private"


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_rfc9449_7_no_private_member_is_taken_whatever_it_holds(member: str) -> None:
    assert reason(proof(EC_KEY, header={"jwk": public_jwk(EC_KEY) | {member: None}})) == "jwk_private"


@pytest.mark.parametrize(
    "value", [ABSENT, None, [], "x", 1, [public_jwk(EC_KEY)], json.dumps(public_jwk(EC_KEY))]
)
def test_jwk_is_an_object(value: Any) -> None:
    assert reason(proof(EC_KEY, header={"jwk": value})) == "jwk_missing"


@pytest.mark.parametrize(
    "said",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "ES384"},
        {"use": None},
        {"alg": None},
    ],
)
def test_a_key_that_says_it_is_for_something_else_is_not_used(said: Changes) -> None:
    assert reason(proof(EC_KEY, header={"jwk": public_jwk(EC_KEY) | said})) == "jwk_use"


def test_a_key_may_say_what_it_is_for_and_other_things() -> None:
    said = {"use": "sig", "key_ops": ["verify"], "alg": "ES256", "kid": "1", "x5u": "https://evil.example/"}
    assert judge_proof(proof(EC_KEY, header={"jwk": public_jwk(EC_KEY) | said, "kid": "../../x"}), expected())


@pytest.mark.parametrize(
    "extension", [{"crit": ["b64"], "b64": False}, {"crit": []}, {"b64": True}, {"crit": ["exp"]}]
)
def test_no_critical_extension_is_understood(extension: Changes) -> None:
    assert reason(proof(EC_KEY, header=extension)) == "header_extension"


@pytest.mark.parametrize("method", ["post", "Post", "GET", "POST ", " POST", "PUT", "POST\x00"])
def test_rfc9449_8_htm_is_the_method(method: str) -> None:
    assert reason(proof(EC_KEY, htm=method)) == "htm_mismatch"


@pytest.mark.parametrize(
    "htu",
    ["https://broker.example/execute?a=b", "https://broker.example/execute#x", "HTTPS://Broker.Example:443/%65xecute",
     "https://broker.example/x/../execute", "https://broker.example:/execute?x=https://evil.example/#?"],
)  # fmt: skip
def test_rfc9449_9_htu_is_the_target_without_query_and_fragment_in_any_equivalent_spelling(htu: str) -> None:
    assert judge_proof(proof(EC_KEY, htu=htu), expected())


@pytest.mark.parametrize(
    "htu",
    ["http://broker.example/execute", "https://broker.example:8443/execute", "https://broker.example/", "https://broker.example",
     "https://broker.example/execute/", "https://broker.example/Execute", "https://evil.example/execute",
     "https://broker.example.evil.example/execute", "https://broker.example/execute%2Fx", "https://broker.example/x?/execute"],
)  # fmt: skip
def test_rfc9449_9_htu_of_another_target_is_refused(htu: str) -> None:
    assert reason(proof(EC_KEY, htu=htu)) == "htu_mismatch"


@pytest.mark.parametrize(
    ("htu", "why"),
    [("ftp://broker.example/execute", "htu_scheme"), ("ws://broker.example/execute", "htu_scheme"),
     ("wss://broker.example/execute", "htu_scheme"), ("file:///execute", "htu_scheme"),
     ("javascript://broker.example/execute", "htu_scheme"), ("/execute", "htu_invalid"), ("//broker.example/execute", "htu_invalid"),
     ("broker.example/execute", "htu_invalid"), ("execute", "htu_invalid"), ("https:/broker.example/execute", "htu_invalid"),
     ("https:broker.example/execute", "htu_invalid"), ("https:///execute", "htu_invalid"), ("", "htu_invalid"),
     (" https://broker.example/execute", "htu_invalid"), ("https://broker.example/execute\n", "htu_invalid"),
     ("https://broker.example\\execute", "htu_invalid"), ("https://brökér.example/execute", "htu_invalid"),
     ("https://broker.example./execute", "htu_invalid"), ("https://broker.example/..%2fexecute", "htu_invalid")],
)  # fmt: skip
def test_000_14_htu_is_an_absolute_http_or_https_uri(htu: str, why: str) -> None:
    assert reason(proof(EC_KEY, htu=htu)) == why


@pytest.mark.parametrize("userinfo", ["a:b@", "a@", "@", "%40@", ":@", "broker.example@"])
def test_000_15_htu_has_no_userinfo(userinfo: str) -> None:
    assert reason(proof(EC_KEY, htu=f"https://{userinfo}broker.example/execute")) == "htu_userinfo"


@pytest.mark.parametrize("iat", [NOW, NOW - 60, NOW + 5, float(NOW), NOW - 59.5])
def test_rfc9449_11_iat_within_the_window(iat: float) -> None:
    assert judge_proof(proof(EC_KEY, iat=iat), expected())


@pytest.mark.parametrize(
    ("iat", "why"),
    [(NOW - 61, "iat_too_old"), (NOW + 6, "iat_in_future"), (0, "iat_too_old"), (-NOW, "iat_too_old"), (10**400, "iat_in_future"),
     (NOW - 60.1, "iat_too_old"), (str(NOW), "iat_missing"), (True, "iat_missing"), (NOW * 1000, "iat_in_future")],
)  # fmt: skip
def test_rfc9449_11_iat_outside_the_window(iat: Any, why: str) -> None:
    assert reason(proof(EC_KEY, iat=iat)) == why


@pytest.mark.parametrize(
    ("claims", "why"),
    [({"exp": NOW}, "proof_expired"), ({"exp": NOW - 1}, "proof_expired"), ({"exp": "later"}, "exp_missing"),
     ({"nbf": NOW + 6}, "proof_not_yet"), ({"nbf": None}, "nbf_missing")],
)  # fmt: skip
def test_exp_and_nbf_hold_where_they_are(claims: Changes, why: str) -> None:
    assert reason(proof(EC_KEY, **claims)) == why
    assert judge_proof(proof(EC_KEY, exp=NOW + 1, nbf=NOW + 5), expected())


def test_rfc9449_12_000_12_a_proof_of_another_key_is_refused() -> None:
    found = denied(proof(OTHER_KEY))
    assert (found.status, found.error, found.reason) == (401, "invalid_token", "jkt_mismatch")


@pytest.mark.parametrize(
    "ath", [ABSENT, None, "", access_token_hash("another-token"), access_token_hash(TOKEN) + "=", TOKEN,
            access_token_hash(TOKEN)[:-1], [access_token_hash(TOKEN)], "\ud800"],
)  # fmt: skip
def test_rfc9449_12_000_13_ath_is_of_the_very_token(ath: Any) -> None:
    header, claims = parts(EC_KEY, None, {"ath": ath})
    if ath == "\ud800":
        assert (
            reason(serialised(json.dumps(header), json.dumps(claims), EC_KEY, "ES256")) == "proof_malformed"
        )
    else:
        assert reason(proof(EC_KEY, ath=ath)) == "ath_mismatch"


def test_a_proof_for_a_new_token_needs_no_ath() -> None:
    facts = expected(purpose=ForNewToken())
    assert judge_proof(proof(EC_KEY, ath=ABSENT), facts).jkt == jkt(EC_KEY)


def test_rfc9449_10_the_current_nonce_and_the_one_before_are_taken() -> None:
    facts = expected(nonces=("current", "previous"))
    assert judge_proof(proof(EC_KEY, nonce="current"), facts).nonce_is_current
    assert not judge_proof(proof(EC_KEY, nonce="previous"), facts).nonce_is_current


@pytest.mark.parametrize(
    ("nonce", "why"),
    [(ABSENT, "nonce_missing"), ("", "nonce_mismatch"), (None, "nonce_mismatch"), ("older", "nonce_mismatch"),
     (["current"], "nonce_mismatch"), ("current ", "nonce_mismatch"), ("CURRENT", "nonce_mismatch")],
)  # fmt: skip
def test_rfc9449_10_rfc9449_d_once_a_nonce_was_given_no_proof_without_it_is_taken(
    nonce: Any, why: str
) -> None:
    found = denied(proof(EC_KEY, nonce=nonce), expected(nonces=("current", "previous")))
    assert (found.status, found.error, found.reason, found.nonce) == (401, "use_dpop_nonce", why, "current")


def test_no_refusal_but_the_nonces_own_gives_a_nonce() -> None:
    for text in (proof(OTHER_KEY), proof(EC_KEY, htm="PUT"), proof(EC_KEY, iat=0), "x"):
        assert denied(text, expected(nonces=("current", "previous"))).nonce is None


@pytest.mark.parametrize(
    "changes",
    [{"method": ""}, {"method": "A B"}, {"algorithms": frozenset()}, {"algorithms": frozenset({"none"})},
     {"algorithms": frozenset({"ES256", "HS256"})}, {"nonces": ("",)}],
)  # fmt: skip
def test_000_18_nothing_is_judged_without_what_it_is_compared_with(changes: Changes) -> None:
    with pytest.raises(ValueError):
        expected(**changes)


@pytest.mark.parametrize(
    ("token", "key"), [("", "x" * 43), (TOKEN, ""), (TOKEN, "x" * 42), ("two words", "x" * 43)]
)
def test_000_18_a_token_is_judged_with_its_key(token: str, key: str) -> None:
    with pytest.raises(ValueError):
        ForToken(token, key)


def test_000_18_what_is_missing_is_no_default() -> None:
    for missing in (None, TOKEN):
        with pytest.raises(TypeError):
            ForToken(missing, None if missing else "x" * 43)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Expected(METHOD, TargetUri.parse(URI))  # type: ignore[call-arg]


@pytest.mark.parametrize(("past", "future"), [(0, 5), (301, 5), (60, -1), (60, 61)])
def test_rfc9449_c_the_window_is_seconds_or_minutes(past: int, future: int) -> None:
    with pytest.raises(ValueError):
        Window(past, future)


def test_a_token_shows_in_no_repr() -> None:
    assert TOKEN not in repr(expected())


# For each check a proof that it alone refuses: without the check it would pass.
ONLY_REFUSED_BY: dict[str, tuple[Callable[[], str], Expected]] = {
    "_typ": (lambda: proof(EC_KEY, header={"typ": "JWT"}), expected()),
    "_critical": (lambda: proof(EC_KEY, header={"crit": ["x"]}), expected()),
    "_algorithm": (lambda: proof(ED_KEY), expected(ED_KEY, algorithms=frozenset({"ES256"}))),
    "_public": (
        lambda: proof(EC_KEY, header={"jwk": public_jwk(EC_KEY) | private_member(EC_KEY)}),
        expected(),
    ),
    "_for_signing": (lambda: proof(EC_KEY, header={"jwk": public_jwk(EC_KEY) | {"use": "enc"}}), expected()),
    "_signature": (
        lambda: proof(EC_KEY).rsplit(".", 1)[0] + "." + b64(sign("ES256", OTHER_KEY, b"x")),
        expected(),
    ),
    "_htm": (lambda: proof(EC_KEY, htm="DELETE"), expected()),
    "_htu": (lambda: proof(EC_KEY, htu="https://evil.example/execute"), expected()),
    "_issued": (lambda: proof(EC_KEY, iat=NOW - 86400), expected()),
    "_not_over": (lambda: proof(EC_KEY, exp=NOW - 1), expected()),
    "_access_token": (lambda: proof(EC_KEY, ath=access_token_hash("another")), expected()),
    "_bound_key": (lambda: proof(OTHER_KEY), expected()),
    "_nonce": (lambda: proof(EC_KEY), expected(nonces=("current",))),
}
# `_jti` is looked at once more where the identifier is handed on: without it a missing one is refused later.
AGAIN_LATER = {"_jti"}


def test_000_19_every_check_has_a_proof_that_it_alone_refuses() -> None:
    names = [check.__name__ for check in module.CHECKS]
    assert len(set(names)) == len(names)
    assert set(names) == set(ONLY_REFUSED_BY) | AGAIN_LATER


@pytest.mark.parametrize(("dropped", "kept"), list(itertools.product(ONLY_REFUSED_BY, repeat=2)))
def test_000_19_without_a_check_something_passes_that_must_not(
    dropped: str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, facts = ONLY_REFUSED_BY[kept]
    monkeypatch.setattr(module, "CHECKS", tuple(c for c in module.CHECKS if c.__name__ != dropped))
    if dropped == kept:
        judge_proof(make(), facts)
    else:
        assert denied(make(), facts).status == 401


def test_000_19_the_identifier_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECKS", tuple(c for c in module.CHECKS if c.__name__ != "_jti"))
    assert reason(proof(EC_KEY, jti=ABSENT)) == "jti_missing"
