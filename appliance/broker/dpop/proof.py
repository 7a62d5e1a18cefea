"""What a DPoP proof must be: every check of RFC 9449 section 4.3 that needs no store, as a table.

A proof is taken apart, then judged by each row of `CHECKS`; the first that fails names the reason. Whether a
proof was used before is asked last, and elsewhere (`verifier.py`): junk must not burn a `jti`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from appliance.broker.denied import Denied, invalid_proof, invalid_token
from appliance.broker.dpop.compact import Compact, encode_base64url, read_compact
from appliance.broker.dpop.keys import ALGORITHMS, PRIVATE_MEMBERS, ProofKey, read_key, verify_signature
from appliance.broker.dpop.target import InvalidTarget, TargetUri

MAX_JTI = 256
"""Characters; 96 random bits, which RFC 9449 section 4.2 asks for, are 16 of base64url."""

THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # token68 of RFC 9110 section 11.2
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


@dataclass(frozen=True, slots=True)
class Window:
    """How old a proof may be, and how far its clock ahead; seconds (RFC 9449 section 11.1)."""

    past: int = 60
    future: int = 5

    def __post_init__(self) -> None:
        if not (1 <= self.past <= 300 and 0 <= self.future <= 60):
            raise ValueError("a proof lives 1 to 300 seconds, and comes at most 60 from the future")


@dataclass(frozen=True, slots=True)
class ForToken:
    """The token that came with the proof, and the thumbprint of the key it is bound to."""

    token: str = field(repr=False)
    jkt: str

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.token) or not THUMBPRINT.fullmatch(self.jkt):
            raise ValueError("a proof for a token is judged with that token and its key's thumbprint")


@dataclass(frozen=True, slots=True)
class ForNewToken:
    """The proof's key is the one to which a token is about to be bound (RFC 9449 section 5)."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known without the proof. `now` in Unix seconds; `nonces`: accepted, the current one first.

    No nonces means that none was ever given to this client. Raises `ValueError` when something is missing.
    """

    method: str
    target: TargetUri
    purpose: ForToken | ForNewToken
    now: int
    window: Window
    algorithms: frozenset[str]
    nonces: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _METHOD.fullmatch(self.method):
            raise ValueError("a proof is judged with the request's method")
        if not self.algorithms or not self.algorithms <= ALGORITHMS:
            raise ValueError(f"algorithms are some of {', '.join(sorted(ALGORITHMS))}")
        if not all(self.nonces):
            raise ValueError("a nonce is never empty")


@dataclass(frozen=True, slots=True)
class Judged:
    """A proof that passed. `nonce_is_current` is false when a newer one should be given to the client."""

    jkt: str
    jti: str
    nonce_is_current: bool


@dataclass(frozen=True, slots=True)
class _Case:
    said: Compact
    key: ProofKey
    expected: Expected

    def text(self, claim: str, most: int) -> str:
        """A claim that must be there. Raises `Denied`."""
        value = self.said.claims.get(claim)
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise invalid_proof(f"{claim}_missing", f"the proof needs {claim} of 1 to {most} characters")
        return value


def judge_proof(text: str, expected: Expected) -> Judged:
    """The key and identifier of a proof that passes every check. Raises `Denied`."""
    said = read_compact(text)
    jwk = said.header.get("jwk")
    if not isinstance(jwk, dict):
        raise invalid_proof("jwk_missing", "the header has no jwk that is an object")
    case = _Case(said, read_key(jwk), expected)
    for check in CHECKS:
        check(case)
    nonces = expected.nonces
    return Judged(
        case.key.thumbprint,
        case.text("jti", MAX_JTI),
        not nonces or _same(said.claims.get("nonce"), nonces[0]),
    )


def access_token_hash(token: str) -> str:
    """`ath`: base64url(SHA-256(ASCII(token))). Raises `UnicodeEncodeError`."""
    return encode_base64url(hashlib.sha256(token.encode("ascii")).digest())


def _typ(case: _Case) -> None:
    if case.said.header.get("typ") != "dpop+jwt":
        raise invalid_proof("typ_mismatch", "typ is not dpop+jwt")


def _critical(case: _Case) -> None:
    # RFC 7515 section 4.1.11: an extension that is not understood makes the JWS invalid. None is understood.
    # `b64` is one, and without `crit` some readers heed it (RFC 7797 section 7).
    if not {"crit", "b64"}.isdisjoint(case.said.header):
        raise invalid_proof("header_extension", "crit and b64 are not taken")


def _algorithm(case: _Case) -> None:
    algorithm = case.said.header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in case.expected.algorithms:
        raise invalid_proof("alg_not_allowed", "alg is none of those allowed")


def _public(case: _Case) -> None:
    if not PRIVATE_MEMBERS.isdisjoint(case.said.header["jwk"]):
        raise invalid_proof("jwk_private", "jwk holds a private key: it is known now, make another")


def _for_signing(case: _Case) -> None:
    # RFC 7517 sections 4.2 to 4.4: what a key says of its use holds where it says it.
    jwk = case.said.header["jwk"]
    operations = jwk.get("key_ops", ["verify"])
    if (
        jwk.get("use", "sig") != "sig"
        or not isinstance(operations, list)
        or "verify" not in operations
        or jwk.get("alg", case.said.header.get("alg")) != case.said.header.get("alg")
    ):
        raise invalid_proof("jwk_use", "jwk says that it is for something else")


def _signature(case: _Case) -> None:
    said = case.said
    verify_signature(str(said.header.get("alg")), case.key.public, said.signed, said.signature)


def _jti(case: _Case) -> None:
    case.text("jti", MAX_JTI)


def _htm(case: _Case) -> None:
    # RFC 9110 section 9.1: methods are case-sensitive.
    if case.said.claims.get("htm") != case.expected.method:
        raise invalid_proof("htm_mismatch", "htm is not the method of the request")


def _htu(case: _Case) -> None:
    value = case.said.claims.get("htu")
    if not isinstance(value, str):
        raise invalid_proof("htu_missing", "the proof needs htu")
    try:
        target = TargetUri.parse(value)
    except InvalidTarget as error:
        raise invalid_proof(error.reason, f"htu: {error.detail}") from None
    if target != case.expected.target:
        raise invalid_proof("htu_mismatch", "htu is not the URI of the request")


def _issued(case: _Case) -> None:
    issued = _date(case, "iat")
    now, window = case.expected.now, case.expected.window
    if issued < now - window.past:
        raise invalid_proof("iat_too_old", f"the proof is older than {window.past} seconds")
    if issued > now + window.future:
        raise invalid_proof("iat_in_future", f"the proof's clock is over {window.future} seconds ahead")


def _not_over(case: _Case) -> None:
    # RFC 7519 sections 4.1.4 and 4.1.5: no proof needs these claims; where they are, they hold.
    if "exp" in case.said.claims and _date(case, "exp") <= case.expected.now:
        raise invalid_proof("proof_expired", "the proof's exp has come")
    if "nbf" in case.said.claims and _date(case, "nbf") > case.expected.now + case.expected.window.future:
        raise invalid_proof("proof_not_yet", "the proof's nbf has not come")


def _access_token(case: _Case) -> None:
    purpose = case.expected.purpose
    if isinstance(purpose, ForNewToken):
        return
    if not _same(case.said.claims.get("ath"), access_token_hash(purpose.token)):
        raise invalid_proof("ath_mismatch", "ath is not the hash of the token that was presented")


def _bound_key(case: _Case) -> None:
    purpose = case.expected.purpose
    if isinstance(purpose, ForNewToken):
        return
    if not _same(case.key.thumbprint, purpose.jkt):
        raise invalid_token("jkt_mismatch", "the proof is not of the key to which the token is bound")


def _nonce(case: _Case) -> None:
    # RFC 9449 section 11.3: once a nonce was given, a proof without one is never taken.
    nonces = case.expected.nonces
    value = case.said.claims.get("nonce")
    if nonces and not any(_same(value, nonce) for nonce in nonces):
        reason = "nonce_mismatch" if "nonce" in case.said.claims else "nonce_missing"
        raise Denied(401, "use_dpop_nonce", reason, "the proof must hold the nonce of this answer", nonces[0])


def _date(case: _Case, claim: str) -> float:
    """A NumericDate (RFC 7519 section 2): seconds, whole or not."""
    value: Any = case.said.claims.get(claim)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise invalid_proof(f"{claim}_missing", f"the proof needs {claim} as a number of seconds")
    return value


def _same(presented: Any, known: str) -> bool:
    """Compare texts in a time that does not tell where they differ."""
    return isinstance(presented, str) and hmac.compare_digest(
        presented.encode("utf-8"), known.encode("utf-8")
    )


CHECKS: tuple[Callable[[_Case], None], ...] = (
    _typ,
    _critical,
    _algorithm,
    _public,
    _for_signing,
    _signature,
    _jti,
    _htm,
    _htu,
    _issued,
    _not_over,
    _access_token,
    _bound_key,
    _nonce,
)
